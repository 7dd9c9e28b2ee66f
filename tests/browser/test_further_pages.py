"""The pages beside the main job, light and dark, wide and narrow: no accessibility violation, nothing sticks out.

The queue, jobs and traces are in `test_every_page`. One look is checked each time, the others with the slow tests.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import RequestFactory
from playwright.sync_api import Page, Route, expect

from routekit_site import views
from tests.browser.conftest import LOOKS, Developer
from tests.fixtures.browsers import Complaints
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site

Check = Callable[..., None]
EACH_TIME = "phone-dark"


@pytest.fixture(params=[name if name == EACH_TIME else pytest.param(name, marks=pytest.mark.slow) for name in LOOKS])
def look(request: pytest.FixtureRequest) -> dict[str, Any]:
    """How the browser wants pages to look."""
    return LOOKS[request.param]


@pytest.fixture
def refused(complaints: Complaints) -> None:
    """Chromium logs every answer of 4xx and 5xx: these are asked for."""
    complaints.expect("the server responded with a status of")


pytestmark = pytest.mark.usefixtures("refused")


@pytest.fixture
def check(embedded: Site, accessibility_violations: Callable[[Page], list[str]]) -> Check:
    """Open addresses one after the other, or look at the page that is open: each accessible and no wider than it is."""

    def checked(page: Page, *addresses: str) -> None:
        for address in addresses or ("",):
            if address:
                page.goto(embedded.url + address)
            page.wait_for_selector("h1")
            assert accessibility_violations(page) == [], page.url
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url

    return checked


def test_what_one_person_arranges(as_person: Callable[..., Page], check: Check, look: dict[str, Any]) -> None:
    page = as_person("rita", **look)
    check(page, "/settings/", "/insights/", "/account/", "/account/password/", "/account/passkeys/new/", "/confirm/")
    page.get_by_label("Your password").or_(page.get_by_label("Password")).first.wait_for()


def test_wrong_settings_say_so_at_their_fields(
    as_person: Callable[..., Page], check: Check, look: dict[str, Any], embedded: Site
) -> None:
    page = as_person("ravi", **look)
    page.goto(f"{embedded.url}/settings/")
    page.get_by_label("From").fill("22:00")
    page.get_by_label("Time zone").fill("Mars/Olympus")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert").first).to_be_visible()
    check(page)


def test_a_second_step_and_its_codes(
    as_person: Callable[..., Page], check: Check, look: dict[str, Any], embedded: Site
) -> None:
    page = as_person("ravi", **look)
    check(page, "/account/app/")
    expect(page.get_by_role("img").first).to_be_visible()
    page.get_by_label("Six digits").fill("000000")
    page.get_by_role("button", name="Turn it on").click()
    expect(page.get_by_role("alert").first).to_be_visible()
    check(page)
    page.goto(f"{embedded.url}/account/")


def test_the_pages_of_an_admin(as_person: Callable[..., Page], check: Check, look: dict[str, Any]) -> None:
    page = as_person("adam", **look)
    check(page, "/security/", "/admin/")
    for name in ("toolallowance", "toolrule", "tenantpolicy", "containment", "webhookendpoint", "notice", "reveal"):
        check(page, f"/admin/approvals/{name}/")
    check(page, "/admin/approvals/toolallowance/add/", "/admin/approvals/toolallowance/import/")
    check(page, "/admin/approvals/webhookendpoint/add/", "/admin/tenancy/halt/", "/admin/tenancy/halt/add/")
    check(page, "/admin/agents/agent/", "/admin/agents/agent/add/")


def test_an_entry_of_the_allow_list(
    as_person: Callable[..., Page], check: Check, look: dict[str, Any], embedded: Site
) -> None:
    page = as_person("adam", **look)
    page.goto(f"{embedded.url}/admin/approvals/toolallowance/")
    page.get_by_role("link", name="write_file").click()
    page.locator("#id_constraints").wait_for()
    check(page)
    page.locator("#id_constraints").fill("[{]")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".errorlist").first).to_be_visible()
    check(page)


def test_approving_and_remembering(
    as_person: Callable[..., Page], alice: Developer, check: Check, look: dict[str, Any], embedded: Site
) -> None:
    (gate,) = alice.ask(("read_file", {"path": "notes.txt"}))
    page = as_person("rita", **look)
    check(page, f"/queue/{gate}/edit/")
    page.goto(f"{embedded.url}/queue/{gate}/")
    page.wait_for_selector('#decide .approve[aria-disabled="false"]')
    page.get_by_role("button", name="Approve").click()
    page.locator(".outcome").wait_for()
    check(page)
    page.get_by_role("link", name="Remember this approval").click()
    page.wait_for_url("**/remember/")
    check(page)


@pytest.fixture
def stopped(embedded: Site) -> Iterator[None]:
    """The tenant of nobody else's test, with the kill switch on."""
    embedded.manage("halt", "--tenant", "globex", "--reason", "An agent wrote where it should not have.")
    yield
    embedded.manage("resume", "--tenant", "globex")


@pytest.mark.usefixtures("stopped")
def test_what_is_stopped_is_told_on_every_page(
    as_person: Callable[..., Page], check: Check, look: dict[str, Any]
) -> None:
    page = as_person("ada", **look)
    for address in ("/queue/", "/settings/", "/admin/tenancy/halt/"):
        check(page, address)
        expect(page.get_by_text("An agent wrote where it should not have.").first).to_be_visible()


def test_what_went_wrong(
    as_person: Callable[..., Page], new_page: Callable[..., Page], check: Check, look: dict[str, Any], embedded: Site
) -> None:
    page = as_person("alice", **look)
    for address, words in (("/nothing/", "Nothing here"), ("/queue/", "Not with your role")):
        check(page, address)
        expect(page.get_by_role("heading", level=1)).to_have_text(words)

    # Somebody types a password wrong until the door is shut: a name that nobody has, so that nobody else is kept out.
    stranger = new_page(**look)
    stranger.goto(f"{embedded.url}/sign-in/")
    name = f"nobody-{uuid.uuid4().hex[:8]}"

    def shut() -> bool:
        stranger.fill("#id_username", name)
        stranger.fill("#id_password", "wrong")
        stranger.get_by_role("button", name="Sign in", exact=True).click()
        stranger.wait_for_load_state()
        return stranger.get_by_text("Too many failed tries").is_visible()

    eventually(shut, within=60, what="the lock-out")
    check(stranger)

    def broken(route: Route) -> None:
        answer = views.server_error(RequestFactory().get("/nothing/"))
        route.fulfill(status=500, content_type="text/html", body=answer.content.decode())

    page.route("**/nothing/", broken)
    check(page, "/nothing/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Something broke")


def test_a_late_decision_without_scripts_reads_who_was_first(
    as_person: Callable[..., Page], alice: Developer, embedded: Site, look: dict[str, Any]
) -> None:
    (gate,) = alice.ask(("read_file", {"path": "notes.txt"}))
    late = as_person("rita", java_script_enabled=False, **look)
    first = as_person("adam", java_script_enabled=False, **look)
    for page in (late, first):
        page.goto(f"{embedded.url}/queue/{gate}/")
    first.get_by_label("Reason").fill("Not this one")
    first.get_by_role("button", name="Reject").click()
    expect(first.locator(".outcome")).to_contain_text("by Adam")
    with late.expect_response("**/decide/") as answer:
        late.get_by_role("button", name="Approve").click()
    assert answer.value.status == 409
    expect(late.get_by_text("rejected", exact=False).first).to_be_visible()
    expect(late.get_by_text("by Adam", exact=False).first).to_be_visible()
