"""The form of a decision: what the page showed, what the person answers."""

from __future__ import annotations

from typing import Any

from django import forms

from approvals.gates import Ballot
from approvals.models import ApprovalGate, DecisionKind
from approvals.types import Risk


class DecisionForm(forms.Form):
    """Hidden fields bind the answer to what was shown; a high-risk approval also needs the tool's name typed."""

    kind = forms.ChoiceField(choices=DecisionKind.choices)
    digest = forms.CharField(max_length=64)
    view_digest = forms.CharField(max_length=64)
    idempotency_key = forms.CharField(max_length=64)
    # Its length is for the domain to refuse, in words.
    reason = forms.CharField(required=False)
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
        )
