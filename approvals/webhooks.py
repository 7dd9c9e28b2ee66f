"""Signed webhooks in the form of Standard Webhooks: HMAC-SHA256 over id, timestamp and body, under rotatable secrets.

Receivers can check a message with any library of that specification. While a rotation is under way a message carries
the signatures of both secrets.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from datetime import datetime, timedelta

import orjson

from approvals.models import Notice, WebhookEndpoint
from approvals.outbound import Answer, post
from routekit_site.tenancy.encryption import seal, unseal

PREFIX = "whsec_"
SECRET_BYTES = 32
OVERLAP = timedelta(hours=24)
GATE_FIELDS = frozenset({"tenant", "gate", "run", "tool", "agent", "risk", "state", "url"})
EVENT_FIELDS = GATE_FIELDS | {"containment", "class"}


def new_secret() -> str:
    """A fresh secret as its owner has to copy it."""
    return PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`."""
    key = b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def body_of(notice: Notice) -> bytes:
    """The message as JSON: type, moment of the event, and those facts that a webhook may carry."""
    data = {name: value for name, value in sorted(notice.facts.items()) if name in EVENT_FIELDS}
    return orjson.dumps({"type": notice.event, "timestamp": notice.at.isoformat(), "data": data})


def headers_of(endpoint: WebhookEndpoint, notice: Notice, body: bytes, now: datetime) -> dict[str, str]:
    """The headers of one attempt: signed anew each time, so that a receiver can refuse what is old."""
    timestamp = int(now.timestamp())
    signatures = [sign(secret, str(notice.id), timestamp, body) for secret in secrets_of(endpoint, now)]
    return {
        "content-type": "application/json",
        "user-agent": "RouteKit-Site",
        "webhook-id": str(notice.id),
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def secrets_of(endpoint: WebhookEndpoint, now: datetime) -> list[str]:
    """The secrets that sign at `now`: the newest, and the one before it while its time runs."""
    found = [endpoint.secret_sealed]
    if endpoint.previous_secret_sealed is not None and endpoint.previous_until and now < endpoint.previous_until:
        found.append(endpoint.previous_secret_sealed)
    return [str(unseal(sealed)) for sealed in found]


def rotate(endpoint: WebhookEndpoint, now: datetime) -> str:
    """Give an unsaved change of secret to the endpoint and answer the new one: the only time that it is shown."""
    secret = new_secret()
    if endpoint.secret_sealed:
        endpoint.previous_secret_sealed, endpoint.previous_until = endpoint.secret_sealed, now + OVERLAP
    endpoint.secret_sealed = seal(secret)
    return secret


def send(endpoint: WebhookEndpoint, notice: Notice, now: datetime) -> Answer:
    """One attempt. Never raises for what the other side does."""
    body = body_of(notice)
    return post(endpoint.url, body, headers_of(endpoint, notice, body, now))
