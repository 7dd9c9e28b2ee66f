"""A live-looking key or password in a form field: recognised, and refused at the field before anything is stored.

For fields of configuration and for reasons. A prompt is taken and masked instead (docs/explanation/threat-model.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from django import forms

from traces.redaction import Label, PIIRedactionHook, Redactor

MESSAGE = (
    "This looks like a live key or password, so nothing was saved. Take it out, and renew it if it was real: it has "
    "been typed into a page. Keys belong into environment variables or secret files of the process that needs them."
)
_SECRETS = frozenset(
    {
        Label.PRIVATE_KEY,
        Label.JWT,
        Label.OPENAI_KEY,
        Label.GITHUB_TOKEN,
        Label.SLACK_TOKEN,
        Label.AWS_KEY,
        Label.AWS_SECRET,
        Label.VENDOR_TOKEN,
        Label.URL_CREDENTIALS,
        Label.GENERIC_SECRET,
    }
)


@lru_cache(maxsize=1)
def _detector() -> Redactor:
    return PIIRedactionHook(redact_emails=False, redact_phones=False, redact_cards=False, redact_ids=False).compile()


def holds_secret(value: object) -> bool:
    """Whether a text, or any text inside a JSON value, holds what looks like a live secret."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return any(span.label in _SECRETS for span in _detector().spans(text))


def check_no_secret(value: object) -> None:
    """Refuse a value that holds one.

    Raises:
        ValidationError: with what to do about it.
    """
    if value and holds_secret(value):
        raise forms.ValidationError(MESSAGE, code="secret")


def refuse_secrets(form: forms.BaseForm, names: Iterable[str]) -> None:
    """Say it at each of the fields of a cleaned form that holds one."""
    cleaned: dict[str, Any] = form.cleaned_data
    for name in names:
        if name in cleaned and cleaned[name] and holds_secret(cleaned[name]):
            form.add_error(name, forms.ValidationError(MESSAGE, code="secret"))
