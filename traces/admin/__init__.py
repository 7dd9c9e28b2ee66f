"""The admin's pages over traces, the ledger and redaction: read-only, and of the person's own tenants only."""

from __future__ import annotations

from traces.admin.ledger import LedgerEntryAdmin
from traces.admin.settings import EncryptionPolicyAdmin, RedactionPolicyAdmin, RetentionPolicyAdmin
from traces.admin.traces import TraceAdmin

__all__ = ["EncryptionPolicyAdmin", "LedgerEntryAdmin", "RedactionPolicyAdmin", "RetentionPolicyAdmin", "TraceAdmin"]
