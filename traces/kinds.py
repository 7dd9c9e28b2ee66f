"""The event vocabulary of traces. Pure. Names map one to one to OpenTelemetry GenAI spans and events."""

from __future__ import annotations

from enum import StrEnum


class EventKind(StrEnum):
    """What happened in a run."""

    RUN_SUBMITTED = "run.submitted"
    RUN_STARTED = "run.started"
    RUN_WAITING = "run.waiting"
    RUN_RESUMED = "run.resumed"
    RUN_FINISHED = "run.finished"
    RUN_CANCEL_REQUESTED = "run.cancel_requested"
    MODEL_REQUEST = "model.request"
    MODEL_RESPONSE = "model.response"
    MODEL_ERROR = "model.error"
    POLICY_VERDICT = "policy.verdict"
    GATE_OPENED = "gate.opened"
    GATE_DECIDED = "gate.decided"
    GATE_UNDONE = "gate.undone"
    GATE_CLOSED = "gate.closed"
    GATE_ESCALATED = "gate.escalated"
    DECISION_REFUSED = "decision.refused"
    VALUE_REVEALED = "value.revealed"
    REMARK = "remark"
    PERMIT_ISSUED = "permit.issued"
    TOOL_STARTED = "tool.started"
    TOOL_FINISHED = "tool.finished"
    TOOL_RETRY = "tool.retry"
    TOOL_UNKNOWN = "tool.unknown"
    TOOL_CONTAINED = "tool.contained"
    VIOLATION = "violation"
    NOTE = "note"
    ERROR = "error"


class FeedTopic(StrEnum):
    """What a feed entry is about."""

    GATE = "gate"
    CLAIM = "claim"
    RUN = "run"
    HALT = "halt"
    MEMBERSHIP = "membership"
    CONTAINMENT = "containment"


class LedgerKind(StrEnum):
    """What the ledger keeps for ever."""

    DECISION = "decision"
    POLICY_CHANGE = "policy_change"
    RULE_CHANGE = "rule_change"
    REVEAL = "reveal"
    EXPORT = "export"
    HALT = "halt"
    EXECUTION = "execution"
    RETENTION = "retention"
    REPLAY = "replay"
    CONTAINMENT = "containment"
    SIGN_IN = "sign_in"
