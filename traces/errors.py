"""What can go wrong on the traces floor; each docstring is the message that a person reads."""

from __future__ import annotations


class TraceError(Exception):
    """The trace could not be written or read."""

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or "").strip()


class NoTransaction(TraceError):
    """This must be called inside a transaction that also makes the change it records."""


class UnknownTrace(TraceError):
    """There is no trace of this run."""


class ContentInFeed(TraceError):
    """A feed entry carries ids and states only: short texts, numbers, true, false or nothing."""


class LedgerWriteFailed(TraceError):
    """The ledger could not be written, so the action was not taken."""


class BadLink(TraceError):
    """This link is not valid, not any more, or what it led to has changed. Ask whoever sent it for a new one."""
