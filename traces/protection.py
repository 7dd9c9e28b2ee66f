"""How a tenant's traces are protected, for whoever checks it: redaction, append-only guard, encryption, retention."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection

from traces.models import EncryptionPolicy, RedactionPolicy, RetentionPolicy
from traces.redaction import PIIRedactionHook
from traces.redactors import default_hook, stored_hook

_GUARDS = {
    "postgresql": "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'traces%%append_only' AND tgenabled <> 'D'",
    "sqlite": "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'traces%_no_update'",
}


@dataclass(frozen=True)
class Protection:
    """What guards the stored traces of one tenant. Days are None where something is kept for ever."""

    append_only: bool
    encrypted: bool
    trace_days: int | None
    raw_days: int | None
    legal_hold: bool


def redaction_hook(tenant_id: int) -> PIIRedactionHook:
    """What the tenant redacts."""
    policy = RedactionPolicy.objects.filter(tenant_id=tenant_id).first()
    return stored_hook(policy.hook) if policy else default_hook()


def protection(tenant_id: int) -> Protection:
    """How the tenant's traces are guarded now."""
    kept = RetentionPolicy.objects.filter(tenant_id=tenant_id).first()
    encryption = EncryptionPolicy.objects.filter(tenant_id=tenant_id).first()
    return Protection(
        append_only=_guarded(),
        encrypted=encryption is not None and encryption.encrypt_traces,
        trace_days=kept.trace_days if kept else None,
        raw_days=kept.raw_days if kept else None,
        legal_hold=kept is not None and kept.legal_hold,
    )


def _guarded() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_GUARDS[connection.vendor])
        return bool(cursor.fetchone()[0])
