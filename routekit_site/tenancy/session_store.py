"""Sessions in the database, sealed: whoever reads the table learns nothing that a session holds.

While an authenticator app is being set up its secret stands in the session; so do the steps of a sign-in.
"""

from __future__ import annotations

import logging
from base64 import b64decode, b64encode
from typing import Any

from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db import DatabaseError, InterfaceError

from routekit_site.tenancy.encryption import seal, unseal
from routekit_site.tenancy.errors import DecryptionFailed
from routekit_site.tenancy.outages import is_outage
from routekit_site.tenancy.sessions import CLOCKS

logger = logging.getLogger(__name__)


class SessionStore(DatabaseStore):
    """Django's own store, but for what stands in the column, and for a database that can only be read."""

    def encode(self, session_dict: dict[str, Any]) -> str:
        """The session as text for the column."""
        return b64encode(seal(dict(session_dict))).decode("ascii")

    def decode(self, session_data: bytes | str) -> dict[str, Any]:
        """The session that the column holds; an empty one where no key opens it or somebody changed it."""
        try:
            found = unseal(b64decode(session_data))
        except (DecryptionFailed, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def load(self) -> dict[str, Any]:
        """The stored session; what it holds beside its clocks is kept, to tell at the end what has changed."""
        found = super().load()
        self._loaded = _beside_clocks(found)
        return found

    def save(self, must_create: bool = False) -> None:  # noqa: FBT001, FBT002 - Django's own signature
        """Store it. That its person was here a moment ago is no reason to refuse a page while nothing can be written.

        The session then ends no later than it would have.
        """
        try:
            super().save(must_create)
        except (DatabaseError, InterfaceError) as error:
            moved_only = not must_create and getattr(self, "_loaded", None) == _beside_clocks(dict(self.items()))
            if not (moved_only and is_outage(error)):
                raise
            logger.warning("the database takes no writes (%s): a session's clock was not moved", type(error).__name__)


def _beside_clocks(session: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in session.items() if name not in CLOCKS}
