"""A live-looking key or password in what a person typed: recognised, and refused before anything of it is stored.

For whatever people type that is kept, read by others or given to a model: jobs, answers, reasons, edited arguments,
settings. E-mail addresses and phone numbers are taken and masked: they are what many jobs are about.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from django import forms

from traces.redaction import Hit, Label, PIIRedactionHook, Redactor

_KINDS: dict[str, str] = {
    Label.PRIVATE_KEY: "a private key",
    Label.JWT: "a signed token (JWT)",
    Label.OPENAI_KEY: "a key for a model's API",
    Label.GITHUB_TOKEN: "a GitHub token",
    Label.SLACK_TOKEN: "a Slack token",
    Label.AWS_KEY: "an AWS access key",
    Label.AWS_SECRET: "an AWS secret key",
    Label.VENDOR_TOKEN: "a service's access token",
    Label.URL_CREDENTIALS: "a password in an address",
    Label.GENERIC_SECRET: "a password or key",
}


@lru_cache(maxsize=1)
def _detector() -> Redactor:
    hook = PIIRedactionHook(
        redact_emails=False, redact_phones=False, redact_cards=False, redact_ids=False, mode="typed"
    )
    return hook.compile()


def _hits(text: str) -> list[Hit]:
    return [hit for hit in _detector().hits(text) if hit.span.label in _KINDS]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def holds_secret(value: object) -> bool:
    """Whether a text, or any text inside a JSON value, holds what looks like a live secret."""
    return bool(_hits(_text(value)))


def refusal(value: object, *, what: str = "This", known: str = "") -> str:
    """Why a value is not taken and what to do, for a person; empty where it holds no secret.

    Args:
        value: a text, or a JSON value with texts inside.
        what: what the message calls it, as the beginning of a sentence.
        known: a text whose own secrets are no new ones: the person was shown them.
    """
    text = _text(value) if value else ""
    new = [hit.span for hit in _hits(text) if text[hit.span.start : hit.span.end] not in known]
    if not new:
        return ""
    kinds = " and ".join(dict.fromkeys(_KINDS[span.label] for span in new))
    return (
        f"{what} holds what looks like {kinds}, so nothing of it was stored. Take it out: whatever needs it reads it "
        "from an environment variable, or from the file that a *_FILE variable names. If it was real, renew it."
    )


def without_secrets(text: str, seen_as: str = "") -> str:
    """A text with the name of its kind in place of each secret: fit to stand in a form again.

    Args:
        text: what was typed.
        seen_as: the same text, character by character, with stand-ins for what is known to be no secret.
    """
    for hit in reversed(_hits(seen_as or text)):
        text = f"{text[: hit.span.start]}{hit.token}{text[hit.span.end :]}"
    return text


def check_no_secret(value: object, *, what: str = "This") -> None:
    """Refuse the value of a form's field that holds one.

    Raises:
        ValidationError: with what to do about it.
    """
    message = refusal(value, what=what)
    if message:
        raise forms.ValidationError(message, code="secret")


def refuse_secrets(form: forms.BaseForm, names: Iterable[str]) -> None:
    """Say it at each of the fields of a cleaned form that holds one."""
    cleaned: dict[str, Any] = form.cleaned_data
    for name in names:
        message = refusal(cleaned.get(name))
        if message:
            form.add_error(name, forms.ValidationError(message, code="secret"))
