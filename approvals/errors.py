"""What can go wrong on the approvals floor; each docstring is the message that a person reads."""

from __future__ import annotations


class ApprovalError(Exception):
    """The approval could not be carried out."""

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or "").strip()
