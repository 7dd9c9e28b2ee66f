"""Who belongs to a tenant, in browsers: what changes is told on open pages at once; the operators' page of tenants."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import LOOKS
from tests.fixtures.browsers import Complaints
from tests.fixtures.processes import Site

SECRET = secrets.token_urlsafe(16)
MAKE = f"""
from routekit_site.tenancy.models import *
tenant, _ = Tenant.objects.get_or_create(slug="moving", defaults={{"name": "Moving House"}})
for name, role in (("mona", "developer"), ("otto", "admin")):
    Membership.objects.create(user=User.objects.create_user(name, "", {SECRET!r}), tenant=tenant, role=role)
User.objects.create_superuser("olga-operator", "", {SECRET!r})
"""


@pytest.fixture(scope="module")
def people(embedded: Site) -> None:
    """Mona and otto of a tenant of their own, and an operator."""
    embedded.manage("shell", "-c", MAKE)


@pytest.fixture
def as_account(embedded: Site, new_page: Callable[..., Page], people: None) -> Callable[..., Page]:  # noqa: ARG001 - they exist
    """Open a browser in which one of them is signed in."""

    def signed_in(name: str, **options: Any) -> Page:
        page = new_page(**options)
        page.goto(f"{embedded.url}/sign-in/")
        page.fill("#id_username", name)
        page.fill("#id_password", SECRET)
        page.click("button.main")
        page.wait_for_url(lambda url: "/sign-in/" not in url)
        return page

    return signed_in


def test_a_new_role_and_a_removal_are_told_on_open_pages(as_account: Callable[..., Page], embedded: Site) -> None:
    mona, otto = as_account("mona"), as_account("otto")
    mona.goto(f"{embedded.url}/jobs/")
    otto.goto(f"{embedded.url}/members/")
    for page in (mona, otto):
        page.wait_for_selector('#connection[data-state="live"]')
    embedded.manage("member", "set", "moving", "mona", "--role", "reviewer")
    expect(mona.locator("#away")).to_have_text("Your role here is reviewer now. Load the page again to work with it.")
    expect(otto.get_by_label("Role of mona")).to_have_value("reviewer")
    mona.reload()
    expect(mona.get_by_role("link", name="Queue")).to_be_visible()
    mona.wait_for_selector('#connection[data-state="live"]')
    embedded.manage("member", "remove", "moving", "mona")
    expect(mona.locator("#away")).to_contain_text("You no longer have access to this tenant's live updates")
    expect(otto.get_by_label("Role of mona")).to_have_count(0)
    embedded.manage("member", "set", "moving", "mona", "--role", "developer")


@pytest.mark.parametrize("look", list(LOOKS))
def test_the_operators_page_of_tenants(
    as_account: Callable[..., Page],
    embedded: Site,
    accessibility_violations: Callable[[Page], list[str]],
    complaints: Complaints,
    look: str,
) -> None:
    # The refused form is in the console.
    complaints.expect("422")
    page = as_account("olga-operator", **LOOKS[look])
    page.goto(f"{embedded.url}/tenants/")
    expect(page.get_by_role("heading", name="Moving House")).to_be_visible()
    assert accessibility_violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    # A short name that is taken: an error at its field, what was typed still there.
    page.fill("#id_name", "Another house")
    page.fill("#id_slug", "moving")
    page.click("button:has-text('Make the tenant')")
    expect(page.get_by_role("alert")).to_have_text("There is a tenant of this short name already.")
    expect(page.locator("#id_name")).to_have_value("Another house")
    assert accessibility_violations(page) == []
    page.fill("#id_slug", f"house-{secrets.token_hex(4)}")
    page.click("button:has-text('Make the tenant')")
    expect(page.get_by_label("A link for one person")).to_be_visible()
    assert accessibility_violations(page) == []
