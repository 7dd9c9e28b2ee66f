"""The form of a person's own settings. What is wrong is said at the field, and what was typed stays."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from zoneinfo import available_timezones

from django import forms

from approvals.models import PersonalSettings


@lru_cache(maxsize=1)
def zones() -> tuple[str, ...]:
    """The time zones that this machine knows by a place's name, in order, UTC first."""
    places = (name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "SystemV/")))
    return ("UTC", *sorted(places))


class SettingsForm(forms.ModelForm):  # type: ignore[type-arg] # not generic at run time
    """Which notices, when not, and whether single keys act."""

    time_zone = forms.CharField(max_length=64)
    quiet_from = forms.TimeField(required=False)
    quiet_to = forms.TimeField(required=False)

    class Meta:
        model = PersonalSettings
        fields = (
            "email_waiting",
            "email_decided",
            "email_contained",
            "quiet_from",
            "quiet_to",
            "time_zone",
            "single_keys",
        )

    def clean_time_zone(self) -> str:
        """A zone that exists."""
        name = str(self.cleaned_data["time_zone"]).strip()
        if name not in zones():
            raise forms.ValidationError(
                "There is no such time zone. Choose one from the list, such as Europe/Stockholm."
            )
        return name

    def clean(self) -> dict[str, Any] | None:
        """Quiet hours have two ends or none."""
        cleaned = super().clean() or {}
        if (cleaned.get("quiet_from") is None) != (cleaned.get("quiet_to") is None):
            self.add_error("quiet_to", "Give both ends of the quiet hours, or leave both empty.")
        return cleaned
