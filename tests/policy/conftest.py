"""The fixtures of the policy tests."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

import pytest

from approvals.models import ToolAllowance
from approvals.types import AllowanceMode
from routekit_site.tenancy.models import Tenant
from tests.fixtures.cast import Cast
from tests.fixtures.gates import House


@pytest.fixture
def house(cast: Cast, now: datetime) -> House:
    """The tenant acme, which lets `write_file` through as its permissions say."""
    allow(cast.acme, "write_file")
    return House(cast, now, itertools.count(1))


def allow(
    tenant: Tenant, tool: str, mode: AllowanceMode = AllowanceMode.BY_PERMISSION, **changes: Any
) -> ToolAllowance:
    """An entry of a tenant's allow-list."""
    return ToolAllowance.objects.create(tenant=tenant, tool=tool, mode=mode, **changes)
