"""The review queue: rows, one call in full, deciding, undoing, remembering. Access first, then one domain call."""

from __future__ import annotations

from approvals.views.around import claim, release, reveal, say
from approvals.views.deciding import decide, undo, withdraw
from approvals.views.queue import gate, gate_data, queue, rows_data
from approvals.views.remembering import remember

__all__ = [
    "claim",
    "decide",
    "gate",
    "gate_data",
    "queue",
    "release",
    "remember",
    "reveal",
    "rows_data",
    "say",
    "undo",
    "withdraw",
]
