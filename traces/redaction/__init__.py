"""Redaction of personal data and secrets from copies that are stored or shown. Pure: knows no framework."""

from __future__ import annotations

from traces.redaction.custom import PatternError
from traces.redaction.hook import PIIRedactionHook
from traces.redaction.redactor import Redactor
from traces.redaction.replacement import TYPED_TOKEN
from traces.redaction.spans import Hit, Label, Span

REDACTOR_VERSION: int = 7

__all__ = ["REDACTOR_VERSION", "TYPED_TOKEN", "Hit", "Label", "PIIRedactionHook", "PatternError", "Redactor", "Span"]
