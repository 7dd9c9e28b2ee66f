"""Signs decisions (Ed25519, RFC 8032) with a key that only the web tier holds, and verifies them anywhere.

A worker holds the public keys only, so whatever takes over an agent's runtime can't issue an approval (OWASP AISVS
9.2.8, 9.2.9).
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings

from approvals.canonical import canonical
from approvals.errors import KeysDoNotMatch, NoSigningKey
from approvals.models import ApprovalGate, Decision
from routekit_site.tenancy.encryption import unseal
from routekit_site.tenancy.errors import DecryptionFailed

# Keeps a signature of a decision from ever being one of something else that the key may sign one day.
_DOMAIN = b"routekit-site decision v1\n"
_KEY_ID_DIGITS = 16


@lru_cache(maxsize=8)
def _private(encoded: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(b64decode(encoded, validate=True))


@lru_cache(maxsize=8)
def _public(encoded: tuple[str, ...]) -> dict[str, Ed25519PublicKey]:
    keys = (Ed25519PublicKey.from_public_bytes(b64decode(key, validate=True)) for key in encoded)
    return {_key_id(key): key for key in keys}


def _key_id(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:_KEY_ID_DIGITS]


def decision_facts(gate: ApprovalGate, decision: Decision) -> dict[str, Any]:
    """What the signature of a decision covers: who decided what, under which role, on which digest, view and nonce."""
    return {
        "version": 1,
        "decision": str(decision.id),
        "tenant": gate.tenant_id,
        "gate": str(gate.id),
        "run": str(gate.run_id),
        "call": gate.call_id,
        "kind": str(decision.kind),
        "decided_by": decision.decided_by_id,
        "role": decision.role,
        "decided_at": decision.decided_at.astimezone(UTC).isoformat(timespec="microseconds"),
        "reason": hashlib.sha256(decision.reason.encode()).hexdigest(),
        "digest": decision.digest,
        "view_digest": decision.view_digest,
        "redactor_version": decision.redactor_version,
        "nonce": decision.nonce,
        **_answer_fact(decision),
    }


def _answer_fact(decision: Decision) -> dict[str, str]:
    """The digest of the raw answer in the tool's place; nothing where there is none."""
    if decision.answer_sealed is None:
        return {}
    return {"answer": hashlib.sha256(str(unseal(decision.answer_sealed)).encode()).hexdigest()}


def sign_decision(payload: Mapping[str, Any]) -> str:
    """The signature of a decision's facts as `ed25519:<key id>:<base64>`.

    Raises:
        NoSigningKey: this process has no private key, as no worker has.
        KeysDoNotMatch: the workers, who have this process's public keys, could not verify what it signs.
    """
    encoded = settings.ROUTEKIT_SIGNING_KEY
    if not encoded:
        raise NoSigningKey
    key = _private(encoded)
    key_id = _key_id(key.public_key())
    if key_id not in _public(tuple(settings.ROUTEKIT_VERIFY_KEYS)):
        raise KeysDoNotMatch
    return f"ed25519:{key_id}:{b64encode(key.sign(_DOMAIN + canonical(payload))).decode()}"


def is_signed(gate: ApprovalGate, decision: Decision) -> bool:
    """Whether a decision's signature is one of all that it says. False too where its answer can't be read."""
    try:
        return verify_decision(decision_facts(gate, decision), decision.signature)
    except DecryptionFailed:
        return False


def verify_decision(payload: Mapping[str, Any], signature: str) -> bool:
    """Whether `signature` is one of these facts by a key of `ROUTEKIT_VERIFY_KEYS`. No key there verifies nothing."""
    scheme, _, rest = signature.partition(":")
    key_id, _, encoded = rest.partition(":")
    key = _public(tuple(settings.ROUTEKIT_VERIFY_KEYS)).get(key_id)
    if scheme != "ed25519" or key is None:
        return False
    try:
        key.verify(b64decode(encoded, validate=True), _DOMAIN + canonical(payload))
    except (InvalidSignature, ValueError):
        return False
    return True
