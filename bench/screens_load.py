"""Opens gates and closes gates for `bench.screens`, and says when each commit was done, one JSON line each.

`fill N` opens N gates of the demo's tenant. `move N` makes N moves a second until it is told to stop: of ten, two open
a gate, two withdraw one, and in six somebody claims a call or gives it up; the number of waiting gates stays the same.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from dataclasses import replace
from typing import Any

from tests.fixtures import demo_gates


def tell(what: str, gate: Any) -> None:
    print(json.dumps({"what": what, "gate": str(gate), "at": time.time()}), flush=True)


def move(house: Any, a_second: int) -> None:
    """Open, claim, withdraw, claim; a move that comes late is followed by the next at once."""
    from django.utils import timezone  # noqa: PLC0415

    from approvals.models import ApprovalGate  # noqa: PLC0415

    waiting = list(ApprovalGate.objects.pending().values_list("run_id", "id"))
    random.Random(5).shuffle(waiting)  # noqa: S311 - which ones go is of no consequence
    claimed: list[Any] = []
    due = time.monotonic()
    for number in itertools.count(1):
        due += 1 / a_second
        time.sleep(max(0.0, due - time.monotonic()))
        if number % 5 == 1:
            found = demo_gates.opened(replace(house, now=timezone.now()), number)
            waiting.append((found.gate.run_id, found.gate.id))
            tell("opened", found.gate.id)
        elif number % 5 == 3:
            run_id, gate_id = waiting.pop(0)
            withdraw(run_id)
            tell("closed", gate_id)
        elif claimed:
            gate_id = claimed.pop()
            claim(gate_id, house.cast.adam, on=False)
            tell("given up", gate_id)
        else:
            # One of those whose turn to be withdrawn is long to come.
            _run, gate_id = waiting[-1 - number % 50]
            claimed.append(gate_id)
            claim(gate_id, house.cast.adam, on=True)
            tell("claimed", gate_id)


def withdraw(run_id: Any) -> None:
    from django.db import transaction  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    from approvals import gates  # noqa: PLC0415

    with transaction.atomic():
        gates.withdraw(run_id, now=timezone.now(), why="The job was cancelled.")


def claim(gate_id: Any, person: Any, *, on: bool) -> None:
    from django.db import transaction  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    from approvals import claims  # noqa: PLC0415

    with transaction.atomic():
        if on:
            claims.claim(gate_id, person, take=True, now=timezone.now())
        else:
            claims.release(gate_id, person, now=timezone.now())


def main() -> None:
    """Run one of the two commands."""
    demo_gates.set_up()
    command, number = sys.argv[1], int(sys.argv[2])
    {"fill": demo_gates.fill, "move": move}[command](demo_gates.house_of_demo(), number)


if __name__ == "__main__":
    main()
