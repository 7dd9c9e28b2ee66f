"""`manage.py state_diagrams`: write docs/explanation/states.md from the transition tables, or check it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.states import CALL_TRANSITIONS, RUN_TRANSITIONS, CallState, RunState
from approvals.states import TRANSITIONS, GateState

PAGE = Path(__file__).resolve().parents[3] / "docs" / "explanation" / "states.md"

_HEAD = """# States

Generated from `approvals/states.py` and `agents/states.py` by `manage.py state_diagrams`; `make check` fails when they
differ. EXPIRED, REJECTED, DENIED and WITHDRAWN are four different things, and the model is told which. A person's
decision is never stored as the state of a job: it is the state of a gate.
"""
_GATE = """A gate is one call that waits for a person. Its clocks: decide-by, then it is EXPIRED, which denies the call;
execute-by, then an approval that was not used is LAPSED. A redemption that finds anything changed lapses it too; the
call then gets a new gate that shows the difference. UNDO works inside the hold only, on the server's clock; a rejection
has a hold only where a tenant asks for one."""
_RUN = """A run is WAITING while every call that could go on has a gate; it holds no worker then, and its own clock
stops."""
_CALL = """A call that needs no person goes from PROPOSED to PERMITTED. UNKNOWN is a call whose worker died between the
permit and the stored outcome: an idempotent tool may run again, any other asks a person. Never a silent second run."""


class Command(BaseCommand):
    help = "Write the state diagrams from the transition tables, or with --check fail when they differ."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is out of date")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Write the page.

        Raises:
            CommandError: with --check, the page is not what the tables say.
        """
        page = _page()
        if not options["check"]:
            PAGE.parent.mkdir(parents=True, exist_ok=True)
            PAGE.write_text(page, encoding="utf-8")
            self.stdout.write(f"wrote {PAGE.name}")
        elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
            raise CommandError(f"{PAGE.name} is out of date: run manage.py state_diagrams")


def _page() -> str:
    gate = [(start, end, move.value) for (start, move), end in TRANSITIONS.items()]
    sections = [
        _section("Gate", _GATE, GateState.PENDING, gate, list(GateState)),
        _section("Run", _RUN, RunState.QUEUED, [(start, end, "") for start, end in RUN_TRANSITIONS], list(RunState)),
        _section(
            "Call", _CALL, CallState.PROPOSED, [(start, end, "") for start, end in CALL_TRANSITIONS], list(CallState)
        ),
    ]
    return "\n".join([_HEAD, *sections])


def _section(name: str, text: str, first: str, moves: Iterable[tuple[str, str, str]], order: list[Any]) -> str:
    """One heading with its Mermaid diagram; moves in the order in which the states are declared."""
    ordered = sorted(moves, key=lambda move: (order.index(move[0]), order.index(move[1]), move[2]))
    starts = {start for start, _, _ in ordered}
    lines = [f"    [*] --> {first}"]
    lines += [f"    {start} --> {end}" + (f" : {label}" if label else "") for start, end, label in ordered]
    lines += [f"    {state} --> [*]" for state in order if state not in starts]
    return "\n".join([f"## {name}", "", text, "", "```mermaid", "stateDiagram-v2", *lines, "```", ""])
