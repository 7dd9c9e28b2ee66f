"""What a detector reports: labelled, half-open character ranges of one string."""

# ruff: noqa: S105  the names of kinds of secrets are no secrets

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Label(StrEnum):
    """What kind of value a span is. The typed token of a label is ``[LABEL]``."""

    EMAIL = "EMAIL"
    PHONE = "PHONE"
    CREDIT_CARD = "CREDIT_CARD"
    IBAN = "IBAN"
    US_SSN = "US_SSN"
    PASSPORT = "PASSPORT"
    IP = "IP"
    PRIVATE_KEY = "PRIVATE_KEY"
    JWT = "JWT"
    OPENAI_KEY = "OPENAI_KEY"
    GITHUB_TOKEN = "GITHUB_TOKEN"
    SLACK_TOKEN = "SLACK_TOKEN"
    AWS_KEY = "AWS_KEY"
    AWS_SECRET = "AWS_SECRET"
    VENDOR_TOKEN = "VENDOR_TOKEN"
    URL_CREDENTIALS = "URL_CREDENTIALS"
    GENERIC_SECRET = "GENERIC_SECRET"
    CUSTOM = "CUSTOM"


class Span(NamedTuple):
    """Characters ``start`` (included) to ``end`` (excluded) of the scanned string."""

    start: int
    end: int
    label: str


Found = tuple[int, int, Label]
"""A span inside the package: the same three items without the class, whose making costs more than finding many."""


class Hit(NamedTuple):
    """A span and the text that takes its place."""

    span: Span
    token: str


def merge(spans: list[Found]) -> list[Found]:
    """Sort spans and join those that overlap into their union.

    A partly covered value is a leak, so a union takes the outermost ends. It keeps the label of the longest part.
    """
    spans.sort()
    merged: list[Found] = []
    last_end = longest = 0
    for span in spans:
        start, end, label = span
        if start < last_end:
            first, _, kept = merged[-1]
            if end - start > longest:
                kept, longest = label, end - start
            last_end = max(end, last_end)
            merged[-1] = (first, last_end, kept)
        else:
            merged.append(span)
            last_end, longest = end, end - start
    return merged
