"""What one transaction tells, gathered and written at its end: one statement for many events instead of several each.

Note [Told at the end]: inside a `gathered()` block the recorder, the ledger and the feed keep what they are given and
write it when the block ends, traces first and the tenant's head last. So the lock order (run, gate, trace, tenant head)
holds whatever order the callers tell in, and the head's row, which all of a tenant's transactions need, is held for the
shortest time. Put the block inside the transaction (`with transaction.atomic(), gathered():`): what is gathered then
commits with what it tells of. An exception drops it, and the transaction with it. Blocks inside a block join it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ClassVar, Protocol, TypeVar

from routekit_site.tenancy.statements import Write, write_all


class Part(Protocol):
    """What one room keeps for the end of the block. Made without arguments; `order` says who writes first."""

    order: ClassVar[int]

    def write(self, waiting: list[Write]) -> None:
        """Write what was kept, inside the caller's transaction.

        `waiting` is what the parts before left for one last statement; a part may add to it, or run and empty it.
        """


P = TypeVar("P", bound=Part)
R = TypeVar("R")

_current: ContextVar[dict[type[Part], Part] | None] = ContextVar("traces_gathering", default=None)


@contextmanager
def gathered() -> Iterator[None]:
    """Gather what is told in this block, and write it at its end."""
    if _current.get() is not None:
        yield
        return
    parts: dict[type[Part], Part] = {}
    token = _current.set(parts)
    try:
        yield
        _write(list(parts.values()))
    finally:
        _current.reset(token)


def _write(parts: Sequence[Part]) -> None:
    waiting: list[Write] = []
    for part in sorted(parts, key=lambda part: part.order):
        part.write(waiting)
    write_all(waiting)


def keep(kind: type[P], give: Callable[[P], R]) -> R:
    """Give something to the block's part of this kind; outside of any block it is written at once."""
    part = part_of(kind)
    if part is not None:
        return give(part)
    alone = kind()
    answer = give(alone)
    _write([alone])
    return answer


def part_of(kind: type[P]) -> P | None:
    """The block's part of this kind; None outside of any block."""
    parts = _current.get()
    if parts is None:
        return None
    if kind not in parts:
        parts[kind] = kind()
    return parts[kind]  # type: ignore[return-value]  # the key is the value's type
