"""Values that are stored encrypted, and keys derived for fingerprints.

A raw prompt, argument or result is stored only through `seal`; the columns that hold one end in `_sealed`. Opening one
is an explicit call (`unseal`), so that every place that reads a raw value can be found by its name.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache
from typing import Any

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from routekit_site.tenancy.errors import DecryptionFailed, ValueForgotten

# What stands in a sealed column whose value retention has deleted: no token is empty.
FORGOTTEN = b""


@lru_cache(maxsize=4)
def _ring(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def seal(value: Any) -> bytes:
    """Encrypt a JSON value under the newest key of `ROUTEKIT_ENCRYPTION_KEYS`."""
    return _ring(tuple(settings.ROUTEKIT_ENCRYPTION_KEYS)).encrypt(orjson.dumps(value))


def unseal(token: bytes | memoryview) -> Any:
    """Decrypt what `seal` returned.

    Raises:
        ValueForgotten: retention has deleted the value.
        DecryptionFailed: no key of the ring opens the token, or it was changed.
    """
    if not token:
        raise ValueForgotten
    try:
        return orjson.loads(_ring(tuple(settings.ROUTEKIT_ENCRYPTION_KEYS)).decrypt(bytes(token)))
    except InvalidToken as error:
        raise DecryptionFailed from error


def reseal(token: bytes | memoryview) -> bytes:
    """The same value under the newest key (`MultiFernet.rotate`)."""
    try:
        return _ring(tuple(settings.ROUTEKIT_ENCRYPTION_KEYS)).rotate(bytes(token))
    except InvalidToken as error:
        raise DecryptionFailed from error


def is_newest(token: bytes | memoryview) -> bool:
    """Whether a token is under the newest key, so that rotation has nothing to do with it."""
    try:
        _ring(tuple(settings.ROUTEKIT_ENCRYPTION_KEYS[:1])).decrypt(bytes(token))
    except InvalidToken:
        return False
    return True


def _hkdf(secret: str, info: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info.encode()).derive(secret.encode())


@lru_cache(maxsize=1024)
def _derived(secret: str, tenant_id: int, purpose: str) -> bytes:
    return _hkdf(secret, f"routekit:{purpose}:{tenant_id}")


@lru_cache(maxsize=16)
def _derived_from(keys: tuple[str, ...], purpose: str) -> tuple[bytes, ...]:
    return tuple(_hkdf(key, f"routekit:{purpose}") for key in keys)


def derived_keys(purpose: str) -> tuple[bytes, ...]:
    """A 32-byte key for one purpose from each of `ROUTEKIT_ENCRYPTION_KEYS`, the newest first."""
    return _derived_from(tuple(settings.ROUTEKIT_ENCRYPTION_KEYS), purpose)


def tenant_key(tenant_id: int, purpose: str) -> bytes:
    """A 32-byte key for one tenant and purpose, derived from `SECRET_KEY` (HKDF-SHA256, RFC 5869)."""
    return _derived(settings.SECRET_KEY, tenant_id, purpose)


def fingerprint(tenant_id: int, value: bytes) -> str:
    """HMAC-SHA256 of `value`, hex: says "the same value as before" inside one tenant without telling the value."""
    return hmac.new(tenant_key(tenant_id, "fingerprint"), value, hashlib.sha256).hexdigest()
