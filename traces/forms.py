"""The form of a tenant's redaction settings. Whatever the redactor refuses is said at the field, in its own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from pydantic import ValidationError

from traces.models import RedactionPolicy
from traces.redaction import PIIRedactionHook
from traces.redaction.custom import MAX_PATTERNS
from traces.redactors import default_hook, stored_hook

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[RedactionPolicy]
else:
    _ModelForm = forms.ModelForm

ARROW = " => "
MAX_SAMPLE = 20_000
_SWITCHES = {
    "redact_emails": "E-mail addresses",
    "redact_phones": "Phone numbers",
    "redact_secrets": "Keys, tokens and passwords",
    "redact_cards": "Payment cards",
    "redact_ids": "Bank accounts, passports, social security numbers",
    "redact_ips": "IP addresses",
}
_MODES = (
    ("typed", "what it was: [EMAIL], [PHONE] …"),
    ("pseudonym", "what it was, the same value always with the same mark: [EMAIL:k3j5…]"),
    ("replacement", "the same text for everything"),
)


def _switch(label: str) -> forms.BooleanField:
    return forms.BooleanField(label=label, required=False)


def _lines(hook: PIIRedactionHook) -> str:
    return "\n".join(f"{pattern}{ARROW}{template}" for pattern, template in hook.redact_patterns)


class RedactionPolicyForm(_ModelForm):
    """The fields of `PIIRedactionHook` as boxes; `hook()` is what was entered, once the form is valid."""

    redact_emails = _switch(_SWITCHES["redact_emails"])
    redact_phones = _switch(_SWITCHES["redact_phones"])
    redact_secrets = _switch(_SWITCHES["redact_secrets"])
    redact_cards = _switch(_SWITCHES["redact_cards"])
    redact_ids = _switch(_SWITCHES["redact_ids"])
    redact_ips = _switch(_SWITCHES["redact_ips"])
    mode = forms.ChoiceField(label="A value is replaced by", choices=_MODES)
    replacement = forms.CharField(max_length=64, help_text="The text, where everything gets the same one.")
    patterns = forms.CharField(
        label="Own patterns",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false"}),
        help_text=r"One a line, in RE2 syntax: pattern => replacement, such as \bZX-\d{4}\b => [CASE]. At most 32.",
    )
    sample = forms.CharField(
        label="Try it",
        required=False,
        strip=False,
        max_length=MAX_SAMPLE,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false", "autocomplete": "off"}),
        help_text="Sent to the server to be redacted with what stands above, kept nowhere.",
    )

    class Meta:
        model = RedactionPolicy
        fields: ClassVar = ["tenant"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stored = self.instance.hook
        hook = stored_hook(stored) if stored else default_hook()
        self.initial = {**hook.model_dump(), "patterns": _lines(hook), **(self.initial or {})}
        self._hook: PIIRedactionHook | None = None

    def hook(self) -> PIIRedactionHook:
        """What was entered; only of a valid form."""
        if self._hook is None:
            message = "the form is not valid"
            raise ValueError(message)
        return self._hook

    def clean_patterns(self) -> list[tuple[int, str, str]]:
        """Line number, pattern and replacement of each line."""
        rules: list[tuple[int, str, str]] = []
        for number, line in enumerate(self.cleaned_data["patterns"].splitlines(), 1):
            if not line.strip():
                continue
            pattern, arrow, template = line.rpartition(ARROW)
            if not arrow:
                message = f"Line {number}: write pattern{ARROW}replacement."
                raise forms.ValidationError(message)
            rules.append((number, pattern, template.strip()))
        if len(rules) > MAX_PATTERNS:
            message = f"There are {len(rules)} patterns; at most {MAX_PATTERNS} are possible."
            raise forms.ValidationError(message)
        return rules

    def clean(self) -> dict[str, Any]:
        """All that the redactor itself refuses, each at its field."""
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        rules = cleaned["patterns"]
        values = {name: cleaned[name] for name in (*_SWITCHES, "mode", "replacement")}
        try:
            self._hook = PIIRedactionHook.model_validate(
                {**values, "redact_patterns": [(pattern, template) for _, pattern, template in rules]}
            )
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_context=False, include_input=False):
                self._refuse(problem["loc"], problem["msg"].removeprefix("Value error, "), rules)
        return cleaned

    def _refuse(self, place: tuple[int | str, ...], said: str, rules: list[tuple[int, str, str]]) -> None:
        if place[0] != "redact_patterns":
            self.add_error(str(place[0]), said)
        elif len(place) > 1 and isinstance(place[1], int):
            self.add_error("patterns", f"Line {rules[place[1]][0]}: the pattern {said}.")
        else:
            self.add_error("patterns", said)
