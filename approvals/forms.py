"""The forms of the queue: a decision on what the page showed, and an approval to be remembered."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms

from approvals.gates import Ballot
from approvals.models import ApprovalGate, DecisionKind
from approvals.rules import DEFAULT_MAX_USES, DEFAULT_TTL, MAX_MAX_USES, MAX_TTL, Reach, RuleChoice, Scope
from approvals.types import Risk


class DecisionForm(forms.Form):
    """Hidden fields bind the answer to what was shown; a high-risk approval also needs the tool's name typed."""

    kind = forms.ChoiceField(choices=DecisionKind.choices)
    digest = forms.CharField(max_length=64)
    view_digest = forms.CharField(max_length=64)
    idempotency_key = forms.CharField(max_length=64)
    # Its length is for the domain to refuse, in words.
    reason = forms.CharField(required=False)
    answer = forms.CharField(required=False, strip=False)
    confirm = forms.CharField(required=False, max_length=200)

    def __init__(self, data: Any, *, gate: ApprovalGate) -> None:
        super().__init__(data)
        self._gate = gate

    def clean(self) -> dict[str, Any]:
        """Refuse a high-risk approval that was not confirmed by name."""
        cleaned = super().clean() or {}
        wants = cleaned.get("kind") == DecisionKind.APPROVE and self._gate.risk == Risk.HIGH
        if wants and cleaned.get("confirm") != self._gate.tool:
            message = f"This call is of high risk. Type the tool's name ({self._gate.tool}) to approve it."
            raise forms.ValidationError(message)
        return cleaned

    def problem(self) -> str:
        """What is wrong, for a person."""
        if self.non_field_errors():
            return str(self.non_field_errors()[0])
        return "The form is incomplete. Reload the page and send it again."

    def ballot(self) -> Ballot:
        """The valid form as a ballot."""
        data = self.cleaned_data
        return Ballot(
            kind=data["kind"],
            digest=data["digest"],
            view_digest=data["view_digest"],
            idempotency_key=data["idempotency_key"],
            reason=data["reason"],
            answer=data["answer"] if data["kind"] == DecisionKind.RESPOND else "",
        )


HOUR = timedelta(hours=1)


class RememberForm(forms.Form):
    """Which rule to make from an approval. The pattern itself is never sent: it is derived from the stored call."""

    reach = forms.ChoiceField(choices=[(reach.value, reach.value) for reach in Reach])
    scope = forms.ChoiceField(choices=[(Scope.AGENT.value, "this agent"), (Scope.TENANT.value, "any agent")])
    hours = forms.IntegerField(min_value=1, max_value=MAX_TTL // HOUR, initial=DEFAULT_TTL // HOUR)
    max_uses = forms.IntegerField(min_value=1, max_value=MAX_MAX_USES, initial=DEFAULT_MAX_USES)

    def choice(self) -> RuleChoice:
        """The valid form as the domain takes it."""
        data = self.cleaned_data
        return RuleChoice(
            reach=Reach(data["reach"]),
            scope=Scope(data["scope"]),
            ttl=data["hours"] * HOUR,
            max_uses=data["max_uses"],
        )
