"""Sessions in the database, sealed: whoever reads the table learns nothing that a session holds.

While an authenticator app is being set up its secret stands in the session; so do the steps of a sign-in.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from django.contrib.sessions.backends.db import SessionStore as DatabaseStore

from routekit_site.tenancy.encryption import seal, unseal
from routekit_site.tenancy.errors import DecryptionFailed


class SessionStore(DatabaseStore):
    """Django's own store, but for what stands in the column."""

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
