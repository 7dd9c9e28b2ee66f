"""Keys for demo mode: made once, kept readable to their owner only, in the data directory. Never used elsewhere."""

from __future__ import annotations

import json
import os
import secrets
from base64 import b64encode
from pathlib import Path

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def make_keys() -> dict[str, str]:
    """A fresh set of all the keys that an installation needs, by environment variable."""
    signing = Ed25519PrivateKey.generate()
    return {
        "ROUTEKIT_SECRET_KEY": secrets.token_urlsafe(48),
        "ROUTEKIT_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "ROUTEKIT_SIGNING_KEY": b64encode(signing.private_bytes_raw()).decode(),
        "ROUTEKIT_VERIFY_KEYS": b64encode(signing.public_key().public_bytes_raw()).decode(),
    }


def demo_keys(directory: Path) -> dict[str, str]:
    """The demo's keys, made on first use in `directory`/demo-keys.json (mode 0600)."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / "demo-keys.json"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        stored: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return stored
    keys = make_keys()
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(keys, file)
    return keys
