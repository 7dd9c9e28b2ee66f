"""Redaction of personal data and secrets from copies that are stored or shown. Pure: knows no framework."""

from __future__ import annotations

from traces.redaction.hook import PIIRedactionHook
from traces.redaction.redactor import Redactor
from traces.redaction.spans import Label, Span

REDACTOR_VERSION: int = 1

__all__ = ["REDACTOR_VERSION", "Label", "PIIRedactionHook", "Redactor", "Span"]
