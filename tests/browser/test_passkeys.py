"""Passkeys with Chromium's own virtual authenticator: made, used to sign in alone, removed; and by a bare address."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.fixtures.processes import Site

AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def with_authenticator(page: Page) -> Page:
    """Give the page's browser a device that says yes."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    session.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
    return page


def test_a_passkey_is_made_signs_in_and_is_removed(new_page: Callable[..., Page], embedded: Site) -> None:
    site = embedded.url.replace("127.0.0.1", "localhost")
    page = with_authenticator(new_page())
    page.goto(f"{site}/sign-in/")
    page.click('button[value="carol"]')
    page.wait_for_url(f"{site}/jobs/**")
    page.goto(f"{site}/account/passkeys/new/")
    page.get_by_label("What you call it").fill("The test's own")
    page.get_by_role("button", name="Add it").click()
    page.wait_for_url(lambda url: "passkeys/new" not in url)
    page.goto(f"{site}/account/")
    expect(page.locator(".passkey-row")).to_contain_text("The test's own")

    page.locator(".menu > summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{site}/sign-in/**")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(f"{site}/jobs/**")
    expect(page.locator(".menu > summary")).to_contain_text("Carol")

    page.goto(f"{site}/account/")
    page.get_by_role("link", name="Remove The test's own").click()
    page.locator("main button.refuse, main button.main").first.click()
    page.wait_for_url(f"{site}/account/**")
    expect(page.locator(".passkey-row")).to_have_count(0)


def test_a_bare_address_says_where_passkeys_work(new_page: Callable[..., Page], embedded: Site) -> None:
    page = with_authenticator(new_page())
    page.goto(f"{embedded.url}/sign-in/")
    expect(page.get_by_role("button", name="Sign in with a passkey")).to_be_hidden()
    there = page.get_by_role("link", name="localhost")
    expect(there).to_have_attribute("href", f"{embedded.url.replace('127.0.0.1', 'localhost')}/sign-in/")
    page.click('button[value="carol"]')
    page.wait_for_url("**/jobs/**")
    page.goto(f"{embedded.url}/account/passkeys/new/")
    expect(page.get_by_role("button", name="Add it")).to_be_hidden()
    expect(page.get_by_role("link", name="localhost")).to_be_visible()
