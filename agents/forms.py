"""The forms of this floor: a new job, and the edit of a waiting call's arguments."""

from __future__ import annotations

from typing import Any

from django import forms

from agents.models import Agent
from agents.types import MAX_PROMPT_CHARACTERS
from traces.pasted_secrets import check_no_secret, without_secrets


class NewJobForm(forms.Form):
    """Agent, prompt, and the form's own key: the same form sent twice is one run."""

    agent = forms.ModelChoiceField(
        queryset=Agent.objects.none(),
        error_messages={
            "required": "Choose an agent.",
            "invalid_choice": "There is no such agent in this tenant. Choose one of these.",
        },
    )
    prompt = forms.CharField(
        strip=False,
        max_length=MAX_PROMPT_CHARACTERS,
        error_messages={
            "required": "Write what the agent should do.",
            "max_length": "The text has %(show_value)s characters; at most %(limit_value)s are taken. Shorten it, or "
            "put it into a file that the agent can read.",
        },
    )
    idempotency_key = forms.CharField(
        max_length=64,
        widget=forms.HiddenInput,
        error_messages={
            "required": "The form's key was missing. Send it once more.",
            "max_length": "The form's key was too long. Send it once more.",
        },
    )

    def __init__(self, data: Any = None, *, tenant_id: int) -> None:
        super().__init__(data)
        agents = self.fields["agent"]
        assert isinstance(agents, forms.ModelChoiceField)  # noqa: S101 - tells the type checker what stands above
        agents.queryset = Agent.objects.in_tenant(tenant_id)
        # The browser's own limit would cut a pasted text silently.
        self.fields["prompt"].widget.attrs.pop("maxlength", None)

    def clean_agent(self) -> Agent:
        """Refuse an agent that is switched off."""
        agent: Agent = self.cleaned_data["agent"]
        if not agent.enabled:
            raise forms.ValidationError("This agent is switched off. Choose another one, or ask an admin.")
        return agent

    def clean_prompt(self) -> str:
        """Refuse a prompt of nothing but white space, and one with a live secret: a model must not see one."""
        prompt: str = self.cleaned_data["prompt"]
        if not prompt.strip():
            raise forms.ValidationError("Write what the agent should do.")
        check_no_secret(prompt, what="The prompt")
        return prompt

    def typed_prompt(self) -> str:
        """What was typed, to stand in the form again: without the secrets in it."""
        return without_secrets(str(self["prompt"].value() or ""))


class EditForm(forms.Form):
    """What comes with an edit besides the arguments: which call the page showed, the form's own key, and why."""

    digest = forms.CharField(max_length=64)
    view_digest = forms.CharField(max_length=64)
    idempotency_key = forms.CharField(max_length=64)
    # Its length is for the domain to refuse, in words.
    reason = forms.CharField(required=False)

    def clean_reason(self) -> str:
        """A reason is kept for ever: no live secret goes into it."""
        reason: str = self.cleaned_data["reason"]
        check_no_secret(reason, what="The reason")
        return reason

    def problem(self) -> str:
        """What is wrong, for a person."""
        if self.has_error("reason", "secret"):
            return str(self.errors["reason"][0])
        return "The form is incomplete. Reload the page and edit the call again."
