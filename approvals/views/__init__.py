"""The review queue: rows, one call in full, deciding, undoing, remembering. Access first, then one domain call."""

from __future__ import annotations

from approvals.views.deciding import decide, undo
from approvals.views.queue import gate, gate_data, queue, rows_data
from approvals.views.remembering import remember

__all__ = ["decide", "gate", "gate_data", "queue", "remember", "rows_data", "undo"]
