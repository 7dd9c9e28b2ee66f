"""The setting of redaction: what a tenant chooses, validated when it is saved."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from traces.redaction.custom import MAX_PATTERNS, check_rule, compile_rule
from traces.redaction.keys import KeyKind, kind_of
from traces.redaction.redactor import Redactor
from traces.redaction.replacement import Mode, Replacement
from traces.redaction.scanner import Categories, Scanner

MAX_REPLACEMENT_LENGTH = 64
_EVERYTHING = Categories(emails=True, phones=True, secrets=True, cards=True, ids=True, ips=True)


def _inert(replacement: str) -> str:
    """Refuse a replacement that would itself be redacted, or could not be told from the text around it."""
    if not replacement.strip() or not replacement.isprintable():
        raise ValueError("use visible characters: what was redacted must show")
    if Scanner(_EVERYTHING).spans(replacement) or kind_of(replacement) is KeyKind.SECRET:
        raise ValueError("looks like a value that is redacted; use a word such as [REDACTED]")
    return replacement


def _checked(rule: tuple[str, str]) -> tuple[str, str]:
    pattern, template = rule
    check_rule(pattern, template)
    return rule


class PIIRedactionHook(BaseModel):
    """What is redacted from everything that is stored or shown, and what stands in its place.

    ``mode`` chooses the token: ``replacement`` writes ``replacement`` everywhere, ``typed`` writes ``[EMAIL]``,
    ``[PHONE]`` … (see ``Label``), and ``pseudonym`` is ``typed`` with e-mail, phone and IP numbered by a keyed digest.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    redact_emails: bool = True
    redact_phones: bool = True
    redact_secrets: bool = True
    redact_cards: bool = True
    redact_ids: bool = True
    redact_ips: bool = False
    redact_patterns: Annotated[
        tuple[Annotated[tuple[str, str], AfterValidator(_checked)], ...], Field(max_length=MAX_PATTERNS)
    ] = ()
    replacement: Annotated[str, Field(min_length=1, max_length=MAX_REPLACEMENT_LENGTH), AfterValidator(_inert)] = (
        "[REDACTED]"
    )
    redact_responses: bool = True
    mode: Mode = "replacement"

    def compile(self, pseudonym_key: bytes | None = None) -> Redactor:
        """Return the redactor of this setting; equal settings and keys share one.

        Raises ValueError when ``mode`` is ``pseudonym`` and no key of 16 bytes or more is given.
        """
        return _compiled(self, pseudonym_key)


@lru_cache(maxsize=256)
def _compiled(hook: PIIRedactionHook, pseudonym_key: bytes | None) -> Redactor:
    categories = Categories(
        emails=hook.redact_emails,
        phones=hook.redact_phones,
        secrets=hook.redact_secrets,
        cards=hook.redact_cards,
        ids=hook.redact_ids,
        ips=hook.redact_ips,
    )
    rules = tuple(compile_rule(pattern, template) for pattern, template in hook.redact_patterns)
    return Redactor(categories, rules, Replacement(hook.mode, hook.replacement, pseudonym_key))
