"""What can go wrong on the agents floor; each docstring is the message that a person reads."""

from __future__ import annotations


class AgentError(Exception):
    """The run could not go on."""

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or "").strip()
