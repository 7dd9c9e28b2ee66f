"""How long policy takes: one decision with 200 rules, and a simulation of 10,000 recorded calls.

Run with `python -m bench.policy`. Goals: a decision in at most 20 µs (median), a simulation in at most 5 s.
The simulation runs on a fresh SQLite database of its own.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from approvals.effects import Reversibility, ToolPermission
from approvals.policy import decide
from approvals.types import (
    AllowanceFacts,
    AllowanceMode,
    ArgumentConstraint,
    CallFacts,
    ConstraintKind,
    PolicyFacts,
    PolicyHooks,
    RuleFacts,
    ToolFilter,
)

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
RULES = 200
CALLS = 10_000


def constraint(kind: ConstraintKind, value: object) -> ArgumentConstraint:
    return ArgumentConstraint(pointer="/path", kind=kind, value=value)


def policy(tools: int, kind: ConstraintKind) -> PolicyFacts:
    """200 rules spread over so many tools, each wanting another path."""
    rules = tuple(
        RuleFacts(
            str(uuid.UUID(int=number)),
            f"tool_{number % tools}",
            None,
            (constraint(kind, f"d{number}"),),
            NOW + timedelta(hours=1),
            9,
        )
        for number in range(RULES)
    )
    entries = {
        name: AllowanceFacts(name, AllowanceMode.BY_PERMISSION, (constraint(ConstraintKind.GLOB, "**"),))
        for name in (f"tool_{number}" for number in range(20))
    }
    hooks = PolicyHooks(tool_filter=ToolFilter(denied_tools=("shell_*", "admin")))
    return PolicyFacts(entries, hooks, None, rules)


def call(tools: int, number: int) -> CallFacts:
    return CallFacts(
        tool=f"tool_{number % tools}",
        arguments={"path": f"d{number % 400}", "text": "x"},
        permissions=frozenset({ToolPermission.FILESYSTEM}),
        reversibility=Reversibility.REVERSIBLE,
        agent_id="7",
    )


def decision_times(tools: int, kind: ConstraintKind) -> list[float]:
    """Seconds per decision, sorted; half of the calls are covered by a rule, half by none."""
    facts, times = policy(tools, kind), []
    for number in range(20_000):
        one = call(tools, number)
        started = time.perf_counter()
        decide(one, facts, NOW)
        times.append(time.perf_counter() - started)
    return sorted(times)


def report_decisions() -> None:
    for tools, kind in (
        (10, ConstraintKind.EXACT),
        (10, ConstraintKind.PATH_UNDER),
        (1, ConstraintKind.EXACT),
        (1, ConstraintKind.PATH_UNDER),
    ):
        times = decision_times(tools, kind)
        p50, p99 = statistics.median(times) * 1e6, times[len(times) * 99 // 100] * 1e6
        print(f"decide, {RULES} {kind} rules over {tools:2} tools: p50 {p50:6.1f} µs, p99 {p99:6.1f} µs")


def report_simulation() -> None:
    from approvals.models import RecordedCall, ToolAllowance  # noqa: PLC0415 - models can be read after setup only
    from approvals.simulation import draft, simulate  # noqa: PLC0415
    from routekit_site.tenancy.encryption import seal  # noqa: PLC0415
    from routekit_site.tenancy.models import Tenant  # noqa: PLC0415

    tenant = Tenant.objects.create(slug="acme", name="Acme")
    RecordedCall.objects.bulk_create(
        RecordedCall(
            tenant=tenant, run_id=uuid.uuid4(), call_id=str(number), at=NOW - timedelta(minutes=number),
            tool="read_file", agent_id="7", permissions=["filesystem"], reversibility="read_only",
            arguments_sealed=seal({"path": f"reports/{number}.md", "max_bytes": 65536}),
            verdict="allow", level="tenant", rule="allow-list: read_file",
        )
        for number in range(CALLS)
    )  # fmt: skip
    changed = ToolAllowance(
        tenant=tenant,
        tool="read_file",
        mode=AllowanceMode.ALLOW,
        constraints=[{"pointer": "/path", "kind": "glob", "value": "reports/*5.md"}],
    )
    started = time.perf_counter()
    found = simulate(tenant.pk, draft(tenant.pk, changed=[changed]), now=NOW + timedelta(hours=1))
    taken = time.perf_counter() - started
    print(f"simulation of {found.looked_at} calls: {taken:.2f} s, {len(found.changed)} verdicts would change")


def main() -> None:
    report_decisions()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(ROUTEKIT_DEMO="1", ROUTEKIT_DATA_DIR=str(Path(folder)))
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "routekit_site.settings")
        import django  # noqa: PLC0415 - the environment above comes first
        from django.core.management import call_command  # noqa: PLC0415

        django.setup()
        call_command("migrate", verbosity=0)
        report_simulation()


if __name__ == "__main__":
    main()
