"""The test harness. Fixtures live in `tests/fixtures/`; here is only what holds for all tests."""

from __future__ import annotations

import pytest

pytest_plugins = (
    "tests.fixtures.cast",
    "tests.fixtures.services",
    "tests.fixtures.processes",
    "tests.fixtures.browsers",
)

# Tests that share an expensive thing stay on one worker of a parallel run, so that the thing is started once.
GROUPS = {
    "new_page": "browser",
    "page": "browser",
    "browser": "browser",
    "embedded": "embedded",
    "own_embedded": "embedded",
    "stack": "services",
    "own_stack": "services",
    "services": "services",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the fixtures that they use."""
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        if names & {"page", "browser", "new_page"}:
            item.add_marker(pytest.mark.browser)
        if "services" in names:
            item.add_marker(pytest.mark.services)
        group = next((GROUPS[name] for name in GROUPS if name in names), None)
        if group is not None and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(group))
