"""What can go wrong on the traces floor; each docstring is the message that a person reads."""

from __future__ import annotations


class TraceError(Exception):
    """The trace could not be written or read."""

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or "").strip()
