"""The door to runs: submit, advance, cancel, sweep, and who may do and see what.

Inside, from the top down: `advancing` (the loop), `cancelling`, `editing` (a waiting call's arguments), `sweeping`,
`reopening` (after a change of redaction), `recovering`, `asking` (the model), `calling` (the tools), `proposals`
(verdicts and gates), `ending`, `case` and `transcript` (what is looked at), `lease` and `pulse` (who holds a run).
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
from agents.runs.advancing import advance, know_machine, warm_up
from agents.runs.cancelling import cancel
from agents.runs.editing import Draft, Field, amendment_of, earlier_edit, open_draft, replace, revise
from agents.runs.pulse import leave, leaving, stay
from agents.runs.submission import submit
from agents.runs.sweeping import sweep

__all__ = [
    "Draft",
    "Field",
    "advance",
    "amendment_of",
    "can_cancel",
    "can_submit",
    "can_view_run",
    "cancel",
    "check_cancel",
    "check_submit",
    "check_view_run",
    "earlier_edit",
    "know_machine",
    "leave",
    "leaving",
    "open_draft",
    "replace",
    "revise",
    "stay",
    "submit",
    "sweep",
    "visible_runs",
    "warm_up",
]
