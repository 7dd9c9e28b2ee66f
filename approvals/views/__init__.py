"""The review queue and what belongs to it: deciding, arranging, insights. Access first, then one domain call."""

from __future__ import annotations

from approvals.views.around import claim, release, reveal, say
from approvals.views.deciding import decide, undo, withdraw
from approvals.views.desk import delete_filter, personal_settings, save_filter, single_keys, snooze
from approvals.views.insights import insights
from approvals.views.queue import gate, gate_data, queue, rows_data
from approvals.views.remembering import remember

__all__ = [
    "claim",
    "decide",
    "delete_filter",
    "gate",
    "gate_data",
    "insights",
    "personal_settings",
    "queue",
    "release",
    "remember",
    "reveal",
    "rows_data",
    "save_filter",
    "say",
    "single_keys",
    "snooze",
    "undo",
    "withdraw",
]
