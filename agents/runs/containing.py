"""What follows from a call's violations: its result is thrown away, and its tool taken out of use (AISVS 9.3.8).

Code that tries to get out is contained at once: a tool's own code for the whole tenant, code that an agent wrote for
that agent. What honest work may do too (a path outside, a host that is not allowed, too much of something) is refused
and counted, and contained when it does not stop. This is stored before the call's outcome is: a worker that dies in
between leaves a contained tool, not a free one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from agents.execution import Failed, FailureKind, Job, Outcome, Violation
from agents.models import ToolCall
from agents.runs.case import Case
from approvals import containment
from approvals.containment import Offence
from approvals.manifests import ToolManifest
from routekit_site.tenancy.clock import database_now

COUNTED_FOR = timedelta(hours=1)
_WITHHELD = (
    "The tool tried to do what it was not allowed to, so its result was thrown away and the tool was taken out of use."
)
_STOPPED = (
    "The call was stopped: its tool was taken out of use after a violation. Nobody knows whether it took effect before."
)


def contain(case: Case, results: Sequence[tuple[ToolCall, ToolManifest, Outcome]]) -> None:
    """Take out of use what these outcomes give cause for. Opens its own transaction, only where there is cause."""
    if not any(outcome.violations for _, _, outcome in results):
        return
    now = database_now()
    offences = [
        offence for call, manifest, outcome in results if (offence := _offence(case, call, manifest, outcome, now))
    ]
    for offence in offences:
        with transaction.atomic(durable=True):
            containment.contain(offence, now=database_now())


def judged(outcome: Outcome, job: Job, stop: Callable[[], bool]) -> Outcome:
    """The outcome as it counts: of a grave violation nothing is passed on, and a call that was stopped says why."""
    if isinstance(outcome, Failed) and outcome.kind is FailureKind.CANCELLED and job.isolated() and not stop():
        return replace(outcome, kind=FailureKind.CONTAINED, message=_STOPPED)
    if not any(violation.grave for violation in outcome.violations):
        return outcome
    return Failed(
        FailureKind.VIOLATION,
        _WITHHELD,
        retryable=False,
        tier=outcome.tier,
        enforced=outcome.enforced,
        violations=outcome.violations,
        usage=outcome.usage,
    )


def _offence(case: Case, call: ToolCall, manifest: ToolManifest, outcome: Outcome, now: datetime) -> Offence | None:
    if not outcome.violations:
        return None
    worst = max(outcome.violations, key=lambda violation: violation.grave)
    if not worst.grave and _earlier(case, call.tool, now) + 1 < settings.ROUTEKIT_CONTAIN_AFTER:
        return None
    return _of(case, call, manifest, worst)


def _earlier(case: Case, tool: str, now: datetime) -> int:
    """How many calls of this tool by this agent broke rules lately."""
    calls = ToolCall.objects.filter(run__agent=case.run.agent_id, tool=tool, violations__gt=0)
    return calls.filter(finished_at__gt=now - COUNTED_FOR).count()


def _of(case: Case, call: ToolCall, manifest: ToolManifest, worst: Violation) -> Offence:
    # What a grave attempt in a tool's own code says of the tool holds whoever calls it.
    blames_agent = manifest.runs_given_code or not worst.grave
    return Offence(
        tenant_id=case.run.tenant_id,
        tool=call.tool,
        agent_id=str(case.run.agent_id) if blames_agent else "",
        agent_name=case.run.agent.name if blames_agent else "",
        attack_class=worst.attack_class.value,
        detail=worst.detail,
        tier=worst.tier.value,
        run_id=case.run.id,
        call_id=str(call.id),
    )
