"""The setting of redaction: what a tenant chooses, validated when it is saved."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from traces.redaction.redactor import Redactor

Mode = Literal["replacement", "typed", "pseudonym"]


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
    redact_patterns: tuple[tuple[str, str], ...] = ()
    replacement: str = Field(default="[REDACTED]", min_length=1, max_length=64)
    redact_responses: bool = True
    mode: Mode = "replacement"

    def compile(self, pseudonym_key: bytes | None = None) -> Redactor:
        """Return the redactor of this setting; equal settings and keys share one.

        Raises ValueError when ``mode`` is ``pseudonym`` and no key of 16 bytes or more is given.
        """
        return _compiled(self, pseudonym_key)


@lru_cache(maxsize=256)
def _compiled(hook: PIIRedactionHook, pseudonym_key: bytes | None) -> Redactor:
    return Redactor(hook, pseudonym_key)
