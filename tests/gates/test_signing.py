"""Signatures: made by the web tier's key only, valid for exactly what was signed."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from approvals.errors import KeysDoNotMatch, NoSigningKey
from approvals.signing import sign_decision, verify_decision
from routekit_site.demo_keys import make_keys

PAYLOAD = {"decision": "1", "kind": "approve"}


@pytest.fixture
def keys(settings: Any) -> dict[str, str]:
    """A fresh pair of keys, in force."""
    made = make_keys()
    settings.ROUTEKIT_SIGNING_KEY = made["ROUTEKIT_SIGNING_KEY"]
    settings.ROUTEKIT_VERIFY_KEYS = (made["ROUTEKIT_VERIFY_KEYS"],)
    return made


@pytest.mark.usefixtures("keys")
def test_a_signature_holds_for_what_was_signed_and_nothing_else() -> None:
    signature = sign_decision(PAYLOAD)
    assert verify_decision(PAYLOAD, signature)
    assert verify_decision(dict(reversed(PAYLOAD.items())), signature)
    assert not verify_decision({**PAYLOAD, "kind": "reject"}, signature)
    assert not verify_decision({**PAYLOAD, "more": 1}, signature)


@pytest.mark.usefixtures("keys")
def test_no_malformed_signature_passes_or_crashes() -> None:
    scheme, key_id, encoded = sign_decision(PAYLOAD).split(":")
    zeros = b64encode(bytes(64)).decode()
    for bad in (
        "",
        ":",
        "::",
        encoded,
        f"{scheme}:{key_id}:",
        f"{scheme}:{key_id}:{zeros}",
        f"{scheme}:{key_id}:not base64!",
        f"{scheme}:{key_id}:{encoded}{encoded}",
        f"{scheme}:{'0' * 16}:{encoded}",
        f"rsa:{key_id}:{encoded}",
        f"{scheme}:{key_id}:é",
    ):
        assert not verify_decision(PAYLOAD, bad), bad


def test_keys_can_be_rotated_while_the_old_public_key_is_kept(keys: dict[str, str], settings: Any) -> None:
    old = sign_decision(PAYLOAD)
    fresh = make_keys()
    settings.ROUTEKIT_SIGNING_KEY = fresh["ROUTEKIT_SIGNING_KEY"]
    settings.ROUTEKIT_VERIFY_KEYS = (fresh["ROUTEKIT_VERIFY_KEYS"], keys["ROUTEKIT_VERIFY_KEYS"])
    assert verify_decision(PAYLOAD, old)
    assert verify_decision(PAYLOAD, sign_decision(PAYLOAD))
    settings.ROUTEKIT_VERIFY_KEYS = (fresh["ROUTEKIT_VERIFY_KEYS"],)
    assert not verify_decision(PAYLOAD, old)


def test_without_the_private_key_nothing_is_signed_and_all_is_verified(keys: dict[str, str], settings: Any) -> None:
    assert keys
    signature = sign_decision(PAYLOAD)
    settings.ROUTEKIT_SIGNING_KEY = None
    with pytest.raises(NoSigningKey, match="Only the web tier"):
        sign_decision(PAYLOAD)
    assert verify_decision(PAYLOAD, signature)


def test_a_web_tier_whose_signatures_no_worker_could_verify_signs_nothing(settings: Any) -> None:
    settings.ROUTEKIT_SIGNING_KEY = make_keys()["ROUTEKIT_SIGNING_KEY"]
    settings.ROUTEKIT_VERIFY_KEYS = (make_keys()["ROUTEKIT_VERIFY_KEYS"],)
    with pytest.raises(KeysDoNotMatch, match="ROUTEKIT_VERIFY_KEYS lacks"):
        sign_decision(PAYLOAD)
