"""The lives of a run and of a tool call. Pure. The diagrams in docs/explanation/states.md come from these tables."""

from __future__ import annotations

from enum import StrEnum


class RunState(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class CallState(StrEnum):
    """Where a tool call stands."""

    PROPOSED = "proposed"
    DENIED = "denied"
    PERMITTED = "permitted"
    GATED = "gated"
    REJECTED = "rejected"
    ANSWERED = "answered"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


RUN_TRANSITIONS: frozenset[tuple[RunState, RunState]] = frozenset(
    {
        (RunState.QUEUED, RunState.RUNNING),
        (RunState.QUEUED, RunState.CANCELLED),
        (RunState.RUNNING, RunState.QUEUED),
        (RunState.RUNNING, RunState.WAITING),
        (RunState.RUNNING, RunState.SUCCEEDED),
        (RunState.RUNNING, RunState.FAILED),
        (RunState.RUNNING, RunState.CANCELLED),
        (RunState.RUNNING, RunState.TIMED_OUT),
        (RunState.WAITING, RunState.RUNNING),
        (RunState.WAITING, RunState.CANCELLED),
    }
)

CALL_TRANSITIONS: frozenset[tuple[CallState, CallState]] = frozenset(
    {
        (CallState.PROPOSED, CallState.DENIED),
        (CallState.PROPOSED, CallState.PERMITTED),
        (CallState.PROPOSED, CallState.REJECTED),
        (CallState.PROPOSED, CallState.GATED),
        (CallState.PROPOSED, CallState.WITHDRAWN),
        (CallState.GATED, CallState.PERMITTED),
        (CallState.GATED, CallState.REJECTED),
        (CallState.GATED, CallState.ANSWERED),
        (CallState.GATED, CallState.EXPIRED),
        (CallState.GATED, CallState.WITHDRAWN),
        (CallState.GATED, CallState.DENIED),
        (CallState.PERMITTED, CallState.GATED),
        (CallState.PERMITTED, CallState.RUNNING),
        (CallState.PERMITTED, CallState.WITHDRAWN),
        (CallState.PERMITTED, CallState.DENIED),
        (CallState.RUNNING, CallState.PERMITTED),
        (CallState.RUNNING, CallState.SUCCEEDED),
        (CallState.RUNNING, CallState.FAILED),
        (CallState.RUNNING, CallState.UNKNOWN),
        (CallState.UNKNOWN, CallState.PERMITTED),
        (CallState.UNKNOWN, CallState.ANSWERED),
        (CallState.UNKNOWN, CallState.WITHDRAWN),
        (CallState.UNKNOWN, CallState.SUCCEEDED),
        (CallState.UNKNOWN, CallState.FAILED),
    }
)

RUN_FINISHED: frozenset[RunState] = frozenset(RunState) - {start for start, _ in RUN_TRANSITIONS}
CALL_SETTLED: frozenset[CallState] = frozenset(CallState) - {start for start, _ in CALL_TRANSITIONS}
