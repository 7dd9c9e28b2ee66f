"""The door to runs: submit, advance, cancel, sweep, and who may do and see what.

Inside, from the top down: `advancing` (the loop), `cancelling`, `sweeping`, `recovering`, `asking` (the model),
`calling` (the tools), `proposals` (verdicts and gates), `ending`, `case` and `transcript` (what is looked at),
`lease` and `pulse` (who holds a run).
"""

from __future__ import annotations

from agents.runs.access import (
    can_cancel,
    can_submit,
    can_view_run,
    check_cancel,
    check_submit,
    check_view_run,
    visible_runs,
)
from agents.runs.advancing import advance, warm_up
from agents.runs.cancelling import cancel
from agents.runs.pulse import leave, leaving, stay
from agents.runs.submission import submit
from agents.runs.sweeping import sweep

__all__ = [
    "advance",
    "can_cancel",
    "can_submit",
    "can_view_run",
    "cancel",
    "check_cancel",
    "check_submit",
    "check_view_run",
    "leave",
    "leaving",
    "stay",
    "submit",
    "sweep",
    "visible_runs",
    "warm_up",
]
