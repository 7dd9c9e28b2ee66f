"""The form of an agent in the admin. What is wrong is said at the field, before anything is saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from pydantic import ValidationError as PolicyError

from agents.ceilings import beyond, ceiling_of, site_runtime
from agents.execution import ResourceLimits, SandboxPolicy
from agents.models import Agent, TenantCeiling
from agents.providers import PROVIDERS
from agents.types import RuntimeDefaults
from approvals.halting import MAX_REASON, Target
from approvals.types import ToolFilter
from routekit_site.tenancy.fields import JSONField
from routekit_site.tenancy.models import Tenant
from traces.pasted_secrets import refuse_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

    _ModelForm = forms.ModelForm[Agent]
    _CeilingForm = forms.ModelForm[TenantCeiling]
else:
    _ModelForm = _CeilingForm = forms.ModelForm

_FILTER_HELP = (
    'Which tools this agent may call, below the tenant\'s allow-list: {"allowed_tools": ["read_file"], '
    '"denied_tools": ["delete_*"]}. Empty: whatever the site\'s filter says.'
)
_SANDBOX_HELP = (
    'What its tools may reach: {"filesystem": {"sandbox_root": "/…"}, "network": {"allowed_hosts": ["example.com"]}, '
    '"limits": {"timeout": 30}}. Empty: nothing.'
)
_LIMITS_HELP = (
    "The most that one call of any agent may use, by the names of an agent's limits: "
    '{"timeout": 120, "memory_mb": 512, "max_disk_mb": 256}. What is left out is not bounded here.'
)
_CEILING_HELP = 'The most that an agent\'s runtime defaults may be: {"timeout": 120, "max_retries": 5}.'
_RUNTIME_HELP = (
    "How long a model call, or a tool that says nothing of its own, may take, and how often a failure is tried again: "
    '{"timeout": 30, "max_retries": 3, "retry_backoff_base": 1, "retry_backoff_max": 60}. Seconds; what is left out is '
    "the site's."
)
_STALE = "Somebody else changed this agent while you were editing it. Reload the page and make your change again."


class AgentForm(_ModelForm):
    """One agent. `operator` is set by the admin page: whether the person may grant what reaches beyond the tenant."""

    operator: ClassVar[bool] = False

    provider = forms.ChoiceField(choices=[(name, name) for name in PROVIDERS])
    tool_filter = JSONField(
        required=False, help_text=_FILTER_HELP, widget=forms.Textarea(attrs={"rows": 4, "cols": 90})
    )
    sandbox = JSONField(
        required=False, initial=dict, help_text=_SANDBOX_HELP, widget=forms.Textarea(attrs={"rows": 12, "cols": 90})
    )
    runtime = JSONField(
        required=False, initial=dict, help_text=_RUNTIME_HELP, widget=forms.Textarea(attrs={"rows": 3, "cols": 90})
    )
    seen_version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = Agent
        fields: ClassVar = [
            "tenant",
            "name",
            "description",
            "enabled",
            "instructions",
            "provider",
            "model",
            "tool_filter",
            "sandbox",
            "runtime",
            "max_steps",
            "max_tokens",
            "max_cost_microdollars",
            "time_limit_seconds",
            "input_price",
            "output_price",
        ]
        help_texts: ClassVar = {
            "enabled": "An agent that is off takes no new jobs.",
            "max_cost_microdollars": "The most that one run may cost, in millionths of a dollar.",
            "time_limit_seconds": "The most that one run may work; waiting for people is not counted.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.fields["seen_version"].initial = self.instance.version

    def clean_tool_filter(self) -> dict[str, Any] | None:
        """The filter as it will be judged by; None where nothing was written."""
        value = self.cleaned_data["tool_filter"]
        if value in (None, "", {}):
            return None
        try:
            return ToolFilter.model_validate(value).model_dump(mode="json", exclude_defaults=True)
        except PolicyError as error:
            raise ValidationError(problems(error)) from None

    def clean(self) -> dict[str, Any]:
        """The sandbox policy is judged with the tenant at hand; a page that was overtaken is refused."""
        super().clean()
        data = self.cleaned_data
        refuse_secrets(self, ("name", "description", "instructions", "model", "tool_filter", "sandbox", "runtime"))
        tenant = data.get("tenant") or getattr(self.instance, "tenant", None)
        if "sandbox" in data:
            self._clean_sandbox(tenant)
        if "runtime" in data:
            self._clean_runtime(tenant)
        if self.instance.pk is not None:
            # The admin's own transaction: the row stays locked until the change is saved.
            current = (
                Agent.objects.select_for_update().filter(pk=self.instance.pk).values_list("version", flat=True).get()
            )
            if data.get("seen_version") != current:
                raise ValidationError(_STALE)
        return data

    def _clean_sandbox(self, tenant: Tenant | None) -> None:
        value = self.cleaned_data["sandbox"] or {}
        try:
            policy = SandboxPolicy.model_validate(value)
        except PolicyError as error:
            self.add_error("sandbox", ValidationError(problems(error)))
            return
        self.cleaned_data["sandbox"] = value
        if tenant is not None:
            named = policy.limits.model_dump(exclude_unset=True)
            for problem in beyond(named, ceiling_of(tenant).limits, "limits."):
                self.add_error("sandbox", problem)
        if not self.operator and tenant is not None and "sandbox" in self.changed_data:
            for problem in beyond_tenant(policy, self.initial.get("sandbox") or {}, sandbox_folder(tenant)):
                self.add_error("sandbox", problem)

    def _clean_runtime(self, tenant: Tenant | None) -> None:
        value = self.cleaned_data["runtime"] or {}
        try:
            site_runtime().overlaid(value)
        except (PolicyError, TypeError) as error:
            said = problems(error) if isinstance(error, PolicyError) else ['Write names and numbers: {"timeout": 30}.']
            self.add_error("runtime", ValidationError(said))
            return
        self.cleaned_data["runtime"] = value
        for problem in beyond(value, ceiling_of(tenant).runtime) if tenant is not None else ():
            self.add_error("runtime", problem)


class TenantCeilingForm(_CeilingForm):
    """The ceiling of one tenant: only names that exist, only values that could be in force."""

    limits = JSONField(
        required=False, initial=dict, help_text=_LIMITS_HELP, widget=forms.Textarea(attrs={"rows": 6, "cols": 90})
    )
    runtime = JSONField(
        required=False, initial=dict, help_text=_CEILING_HELP, widget=forms.Textarea(attrs={"rows": 3, "cols": 90})
    )

    class Meta:
        model = TenantCeiling
        fields: ClassVar = ["tenant", "limits", "runtime"]

    def clean_limits(self) -> dict[str, Any]:
        return self._checked("limits", ResourceLimits.model_validate)

    def clean_runtime(self) -> dict[str, Any]:
        return self._checked("runtime", lambda named: RuntimeDefaults(retry_backoff_max=3600).overlaid(named))

    def _checked(self, name: str, check: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        value: dict[str, Any] = self.cleaned_data[name] or {}
        try:
            check(value)
        except PolicyError as error:
            raise ValidationError(problems(error)) from None
        except TypeError:
            raise ValidationError('Write names and numbers: {"timeout": 30}.') from None
        return value


def sandbox_folder(tenant: Tenant) -> Path:
    """The folder below which a tenant's admins may give folders to agents."""
    folder: Path = Path(settings.ROUTEKIT_DATA_DIR).resolve() / "sandboxes" / tenant.slug
    return folder


def beyond_tenant(policy: SandboxPolicy, stored: Mapping[str, Any], folder: Path) -> list[str]:
    """What of a policy only an operator may grant and did not grant before, one sentence each."""
    before = SandboxPolicy.model_validate(stored)
    had_paths = _paths(before)
    had_networks = set(before.network.allowed_networks) if before.network is not None else set()
    networks = policy.network.allowed_networks if policy.network is not None else ()
    found = [
        f"{path}: only an operator may grant a folder outside of {folder}."
        for path in sorted(_paths(policy) - had_paths)
        if not Path(path).resolve().is_relative_to(folder)
    ]
    found += [
        f"{path}: only an operator may let tools write to a folder outside of {folder}."
        for path in sorted(_opened_by(policy, before))
        if not Path(path).resolve().is_relative_to(folder)
    ]
    found += [f"{name}: only an operator may allow a private address." for name in networks if name not in had_networks]
    if policy.require != "kernel" and before.require == "kernel":
        found.append("Only an operator may let tools run without enforcement by the kernel.")
    return found


def _paths(policy: SandboxPolicy) -> set[str]:
    if policy.filesystem is None:
        return set()
    return {*policy.filesystem.writable(), *policy.filesystem.read_only_paths}


def _opened_by(policy: SandboxPolicy, before: SandboxPolicy) -> set[str]:
    """Folders that were read-only and could be written now: by their own name, or inside of a writable one."""
    if policy.filesystem is None or before.filesystem is None:
        return set()
    freed = {*before.filesystem.read_only_paths} - {*policy.filesystem.read_only_paths}
    writable = policy.filesystem.writable()
    return {path for path in freed if any(Path(path).is_relative_to(folder) for folder in writable)}


def problems(error: PolicyError) -> list[str]:
    """What is wrong with a policy, a line for each place; the values are not repeated."""
    return [
        f"{'.'.join(str(part) for part in problem['loc']) or 'value'}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    ]


class HaltForm(forms.Form):
    """What is to be stopped, and why. The choices are those of the person, set by the page."""

    target = forms.ChoiceField(label="Stop")
    reason = forms.CharField(
        max_length=MAX_REASON,
        help_text="Everybody concerned reads it, on every page.",
        widget=forms.TextInput(attrs={"size": 90}),
    )

    def __init__(self, data: Any = None, *, targets: Mapping[str, tuple[str, Target]]) -> None:
        super().__init__(data)
        self._targets = targets
        chosen = self.fields["target"]
        assert isinstance(chosen, forms.ChoiceField)  # noqa: S101 - tells the type checker what stands above
        chosen.choices = [(scope, label) for scope, (label, _) in targets.items()]

    def chosen(self) -> Target:
        """The target that was chosen, of a valid form."""
        return self._targets[self.cleaned_data["target"]][1]
