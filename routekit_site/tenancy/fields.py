"""Form fields for hostile input."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from django import forms


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is no JSON"
    raise ValueError(message)


class _StrictDecoder(json.JSONDecoder):
    """Without NaN and Infinity, which are no JSON and which no database stores."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**(options | {"parse_constant": _refuse_constant}))


class JSONField(forms.JSONField):
    """Django's field, which knows bad JSON but not JSON that is too deep, nor numbers too long to be read."""

    default_error_messages = {"invalid": "Enter a valid JSON. It may not be nested too deeply."}  # noqa: RUF012 - as in Django

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"decoder": _StrictDecoder} | options))

    def to_python(self, value: Any) -> Any:
        """The value; whatever is wrong with the text is said at the field."""
        try:
            return super().to_python(value)
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from error

    def prepare_value(self, value: Any) -> Any:
        """Nothing is an empty box, not the word null."""
        return "" if value is None else super().prepare_value(value)

    def bound_data(self, data: Any, initial: Any) -> Any:
        """What the field shows again: the text as it was sent where it can't be read."""
        try:
            return super().bound_data(data, initial)
        except (ValueError, RecursionError):
            return forms.fields.InvalidJSONInput(data)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether it was changed; what can't be read was."""
        try:
            return super().has_changed(initial, data)
        except (ValueError, RecursionError):
            return True
