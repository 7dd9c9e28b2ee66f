"""What an agent's calls may use at most and use by default: the site's word, the tenant's ceiling, the agent's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.conf import settings

from agents.models import Agent, TenantCeiling
from agents.tools.limits import ResourceLimits
from agents.types import RuntimeDefaults
from routekit_site.tenancy.models import Tenant


def site_runtime() -> RuntimeDefaults:
    """The site-wide defaults (`ROUTEKIT_RUNTIME_DEFAULTS`)."""
    defaults: RuntimeDefaults = settings.ROUTEKIT_RUNTIME_DEFAULTS
    return defaults


def ceiling_of(tenant: Tenant) -> TenantCeiling:
    """The tenant's ceiling, or one that bounds nothing and is not stored."""
    found: TenantCeiling | None = getattr(tenant, "ceiling", None)
    return found or TenantCeiling(tenant=tenant)


def limits_of(ceiling: TenantCeiling) -> ResourceLimits:
    """The limits that the ceiling names; what it does not name is not among `model_fields_set`.

    Raises:
        pydantic.ValidationError: what is stored is no limits.
    """
    return ResourceLimits.model_validate(ceiling.limits)


def runtime_of(agent: Agent, ceiling: TenantCeiling) -> RuntimeDefaults:
    """The defaults for this agent's runs: the site's, with what the agent names instead, under the tenant's ceiling.

    Raises:
        pydantic.ValidationError: what is stored for the agent is no defaults.
    """
    return site_runtime().overlaid(agent.runtime).capped(ceiling.runtime)


def beyond(named: Mapping[str, float], ceiling: Mapping[str, float], prefix: str = "") -> list[str]:
    """What of an agent's named values is above the tenant's ceiling, one sentence each."""
    return [
        f"{prefix}{name}: {named[name]:g} is above this tenant's ceiling of {ceiling[name]:g}."
        for name in _common(named, ceiling)
        if named[name] > ceiling[name]
    ]


def _common(named: Iterable[str], ceiling: Iterable[str]) -> list[str]:
    return sorted(set(named) & set(ceiling))
