"""The forms of the policy pages in the admin. What is wrong is said at the field, before anything is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.conf import settings

from approvals import allow_list, manifests
from approvals.effects import ToolPermission
from approvals.errors import BadAllowList
from approvals.models import TenantPolicy, ToolAllowance
from approvals.policy_facts import APPROVER_ROLES
from routekit_site.tenancy.fields import JSONField
from routekit_site.tenancy.models import Tenant
from traces.pasted_secrets import refuse_secrets

if TYPE_CHECKING:
    from django.db.models import QuerySet

    _AllowanceForm = forms.ModelForm[ToolAllowance]
    _PolicyForm = forms.ModelForm[TenantPolicy]
else:
    _AllowanceForm = _PolicyForm = forms.ModelForm

_CONSTRAINTS_HELP = (
    "A JSON list; each entry has a pointer to one argument, a kind (exact, glob, prefix, range, one_of, host_in, "
    'path_under) and a value, such as [{"pointer": "/path", "kind": "path_under", "value": "reports"}]. '
    "With allow, a call outside of them needs a person; with ask and by permission it is denied."
)
_MODE_HELP = (
    "allow: without a person. by permission: a person when the tool uses a gated permission. ask: always a person. "
    "deny: never. A tool that can't be undone always asks."
)


class ToolAllowanceForm(_AllowanceForm):
    """One entry of the allow-list, and a call to test it with."""

    tool = forms.ChoiceField(error_messages={"invalid_choice": "There is no tool called %(value)s."})
    constraints = JSONField(
        required=False, initial=list, help_text=_CONSTRAINTS_HELP, widget=forms.Textarea(attrs={"rows": 6, "cols": 90})
    )
    approver_roles = forms.MultipleChoiceField(
        required=False,
        choices=[(role, role) for role in APPROVER_ROLES],
        widget=forms.CheckboxSelectMultiple,
        help_text="Who may approve; none ticked means any of them.",
    )
    test_arguments = JSONField(
        required=False,
        label="Arguments",
        help_text='The arguments of a call as JSON, such as {"path": "notes.txt"}. Never saved.',
        widget=forms.Textarea(attrs={"rows": 3, "cols": 90}),
    )

    class Meta:
        model = ToolAllowance
        fields: ClassVar = [
            "tenant",
            "tool",
            "mode",
            "constraints",
            "reversibility",
            "approver_roles",
            "approvals_needed",
            "approver_expression",
            "four_eyes",
            "decide_by_seconds",
            "execute_by_seconds",
        ]
        help_texts: ClassVar = {
            "mode": _MODE_HELP,
            "reversibility": "Instead of the tool's own class. Calls that can't be undone always need a person.",
            "approvals_needed": "How many different people have to approve.",
            "approver_expression": "Instead of roles and number: people and roles joined by and, or, such as "
            '"reviewer and admin" or "2 reviewers or admin". One person counts once.',
            "four_eyes": "Whoever submitted the run can't approve its calls.",
            "decide_by_seconds": "Nobody decides in time: the call expires. Empty: the tenant's setting.",
            "execute_by_seconds": "An approval not used in time lapses. Empty: the tenant's setting.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "tool" in self.fields:
            names = [manifest.name for manifest in manifests.all_manifests()]
            field = self.fields["tool"]
            if isinstance(field, forms.ChoiceField):
                field.choices = [(name, name) for name in names]

    def clean_constraints(self) -> Any:
        """An empty box is no constraints."""
        return [] if self.cleaned_data["constraints"] is None else self.cleaned_data["constraints"]

    def clean_test_arguments(self) -> Any:
        """Arguments are an object."""
        arguments = self.cleaned_data["test_arguments"]
        if arguments is not None and not isinstance(arguments, dict):
            raise forms.ValidationError('Arguments are a JSON object, such as {"path": "notes.txt"}.')
        return arguments

    def clean(self) -> dict[str, Any]:
        """All that `allow_list.problems` finds, each at its field."""
        cleaned = super().clean() or {}
        named = {name: cleaned[name] for name in ToolAllowanceForm.Meta.fields if name in cleaned and name != "tenant"}
        refuse_secrets(self, ("constraints", "test_arguments"))
        draft = ToolAllowance(**{"tool": self.instance.tool, **named})
        for name, texts in allow_list.problems(draft).items():
            for text in texts:
                if name not in self.errors:
                    self.add_error(name if name in self.fields else None, forms.ValidationError(text))
        return cleaned


class TenantPolicyForm(_PolicyForm):
    """A tenant's gate policy and clocks."""

    require_approval_for_permissions = forms.MultipleChoiceField(
        required=False,
        label="Permissions that need approval",
        choices=[(permission.value, permission.value) for permission in ToolPermission],
        widget=forms.CheckboxSelectMultiple,
        help_text="Calls of tools that use one of them wait for a person, unless the allow-list says allow.",
    )
    escalation_roles = forms.MultipleChoiceField(
        required=False,
        label="Second group",
        choices=[(role, role) for role in APPROVER_ROLES],
        widget=forms.CheckboxSelectMultiple,
        help_text="Called when nobody has decided in half of the time; may then stand in for the first.",
    )
    approval_callback = forms.ChoiceField(
        required=False,
        help_text="Asked about calls with such a permission before a person is. The operator names what can be chosen.",
        error_messages={"invalid_choice": "%(value)s is not named in ROUTEKIT_APPROVAL_CALLBACKS."},
    )

    class Meta:
        model = TenantPolicy
        fields: ClassVar = [
            "tenant",
            "require_approval_for_permissions",
            "approval_callback",
            "approval_hold_seconds",
            "rejection_hold_seconds",
            "decide_by_seconds",
            "execute_by_seconds",
            "escalation_roles",
        ]
        help_texts: ClassVar = {
            "approval_hold_seconds": "How long an approval can be undone before its call runs; at most 600.",
            "rejection_hold_seconds": "How long a rejection can be undone before the run goes on; at most 600.",
            "decide_by_seconds": "Nobody decides in time: the call expires, which counts as denied.",
            "execute_by_seconds": "An approval not used in time lapses.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["approval_callback"]
        if isinstance(field, forms.ChoiceField):
            field.choices = [("", "none"), *((path, path) for path in settings.ROUTEKIT_APPROVAL_CALLBACKS)]

    def clean(self) -> dict[str, Any]:
        """Clocks and holds within reason."""
        cleaned = super().clean() or {}
        for name in ("decide_by_seconds", "execute_by_seconds"):
            problem = allow_list.bad_clock(cleaned.get(name))
            if problem and name not in self.errors:
                self.add_error(name, problem)
        for name in ("approval_hold_seconds", "rejection_hold_seconds"):
            if (cleaned.get(name) or 0) > allow_list.MAX_HOLD_SECONDS:
                self.add_error(name, "A hold lasts for at most 10 minutes (600 seconds).")
        return cleaned


class ImportForm(forms.Form):
    """An exported allow-list, for one of the person's own tenants."""

    tenant = forms.ModelChoiceField(queryset=Tenant.objects.none(), empty_label=None)
    content = JSONField(
        label="Allow-list",
        initial=list,
        help_text="The text of an exported file.",
        widget=forms.Textarea(attrs={"rows": 16, "cols": 90}),
    )
    replace = forms.BooleanField(required=False, label="Take tools off that the file does not name")

    def __init__(self, *args: Any, tenants: QuerySet[Tenant], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["tenant"]
        if isinstance(field, forms.ModelChoiceField):
            field.queryset = tenants
        self.rows: list[ToolAllowance] = []

    def clean(self) -> dict[str, Any]:
        """Read the entries into `rows`; what is wrong with them is said at the file."""
        cleaned = super().clean() or {}
        refuse_secrets(self, ("content",))
        if "tenant" in cleaned and "content" in cleaned:
            try:
                self.rows = allow_list.read(cleaned["tenant"].pk, cleaned["content"])
            except BadAllowList as error:
                for problem in error.problems:
                    self.add_error("content", problem)
        return cleaned
