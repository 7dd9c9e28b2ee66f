"""Who looks at what, in one tenant. Pure: the clock is passed in, a subject is an opaque text."""

from __future__ import annotations

from dataclasses import dataclass

STALE_SECONDS = 60.0


@dataclass(frozen=True)
class Look:
    """One socket's look at one subject."""

    person: int
    name: str
    subject: str
    until: float


class Looks:
    """The looks of a tenant's sockets, those of other server processes included."""

    def __init__(self) -> None:
        self._looks: dict[str, Look] = {}

    def put(self, socket: str, person: int, name: str, subject: str, now: float) -> set[str]:
        """`socket` looks at `subject` from now on ("" is at nothing). Returns the subjects whose people changed."""
        before = self._looks.pop(socket, None)
        if subject:
            self._looks[socket] = Look(person, name, subject, now + STALE_SECONDS)
        old = before.subject if before else ""
        return set() if old == subject else {old, subject} - {""}

    def drop_stale(self, now: float) -> set[str]:
        """Forget the looks that were not renewed in time. Returns the subjects whose people changed."""
        stale = {socket: look.subject for socket, look in self._looks.items() if look.until < now}
        for socket in stale:
            del self._looks[socket]
        return set(stale.values())

    def people(self, subject: str) -> list[str]:
        """Names of those who look at `subject`, each person once, in order."""
        found = {look.person: look.name for look in self._looks.values() if look.subject == subject}
        return sorted(found.values())

    def subjects(self) -> set[str]:
        """Everything that somebody looks at."""
        return {look.subject for look in self._looks.values()}
