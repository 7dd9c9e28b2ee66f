"""People in browsers, and jobs that stop at gates, on the embedded site."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page

from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site, csrf_token

# Seconds for which what is approved on the shared site can be taken back; the most that a tenant may set.
HELD = 600
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 800}},
    "phone-dark": {"color_scheme": "dark", "viewport": {"width": 390, "height": 800}, "reduced_motion": "reduce"},
}


@dataclass
class Developer:
    """Alice, over plain HTTP: submits jobs whose calls stop at gates."""

    client: httpx.Client
    runs: list[str]

    def submit(self, prompt: str) -> str:
        """Submit a job; answers its run's id."""
        form = self.client.get("/jobs/new/").text
        agent = form.split('name="agent" value="', 1)[1].split('"', 1)[0]
        sent = {
            "csrfmiddlewaretoken": csrf_token(form),
            "agent": agent,
            "prompt": prompt,
            "idempotency_key": uuid.uuid4().hex,
        }
        answer = self.client.post("/jobs/new/", data=sent, headers={"Referer": str(self.client.base_url)})
        run = answer.url.path.split("/")[2]
        self.runs.append(run)
        return run

    def run(self, run: str) -> Any:
        """The run as JSON."""
        return self.client.get(f"/runs/{run}.json").json()

    def ask(self, *calls: tuple[str, dict[str, Any]]) -> list[str]:
        """Submit a job whose one reply makes these calls; answers the ids of their gates, in order."""
        run = self.submit("\n".join(f"{tool} {json.dumps(arguments)}" for tool, arguments in calls))

        def waits() -> list[str] | None:
            told = self.run(run)
            waiting = {wait["id"] for wait in told["waits"]}
            asked = [call["gate_url"].split("/")[2] for step in told["steps"] for call in step["calls"]]
            return asked if len(waiting) == len(calls) else None

        return eventually(waits, what=f"{len(calls)} gates of run {run}") or []

    def risky(self) -> tuple[str, dict[str, Any]]:
        """A call of high risk: what a request does out there can't be undone."""
        return "http_request", {"url": f"{self.client.base_url}/demo/page/", "method": "POST"}

    def state(self, gate: str) -> str:
        """Where a gate of hers stands."""
        return str(self.client.get(f"/queue/{gate}.json").json()["state"])

    def cancel_all(self) -> None:
        """End what she started, so that the next test finds an empty queue."""
        for run in self.runs:
            token = csrf_token(self.client.get("/jobs/").text)
            headers = {"Referer": str(self.client.base_url), "X-CSRFToken": token, "Accept": "application/json"}
            self.client.post(f"/runs/{run}/cancel/", headers=headers)


@pytest.fixture(scope="session")
def held(embedded: Site) -> None:
    """What is approved can be taken back for ten minutes: a call stays as it is while a test looks at it."""
    embedded.manage(
        "shell",
        "-c",
        "from approvals.models import TenantPolicy; from routekit_site.tenancy.models import Tenant; "
        "TenantPolicy.objects.update_or_create("
        f"tenant=Tenant.objects.get(slug='acme'), defaults={{'approval_hold_seconds': {HELD}}})",
    )


@pytest.fixture
def soon(embedded: Site, held: None) -> Iterator[None]:  # noqa: ARG001 - there is a row to change
    """What is approved runs after the site's usual five seconds."""
    _hold(embedded, 5)
    yield
    _hold(embedded, HELD)


def _hold(site: Site, seconds: int) -> None:
    with contextlib.closing(sqlite3.connect(site.database, timeout=60)) as database, database:
        acme = "tenant_id = (SELECT id FROM tenancy_tenant WHERE slug = 'acme')"
        database.execute(f"UPDATE approvals_tenantpolicy SET approval_hold_seconds = ? WHERE {acme}", [seconds])


@pytest.fixture
def alice(embedded: Site, held: None) -> Iterator[Developer]:  # noqa: ARG001 - what she asks for stays
    """The developer."""
    developer = Developer(embedded.sign_in("alice"), [])
    yield developer
    developer.cancel_all()


@pytest.fixture
def as_person(embedded: Site, new_page: Callable[..., Page]) -> Callable[..., Page]:
    """Open a browser in which a demo account is signed in by its button. Takes Playwright's options."""

    def signed_in(name: str, **options: Any) -> Page:
        page = new_page(**({"viewport": {"width": 1360, "height": 860}} | options))
        page.goto(f"{embedded.url}/sign-in/")
        page.click(f'button[value="{name}"]')
        page.wait_for_url(lambda url: "/sign-in/" not in url)
        return page

    return signed_in


@pytest.fixture
def live_queue(as_person: Callable[..., Page]) -> Callable[..., Page]:
    """Open rita's queue and wait until its line is up. `clock` is for `standing_still`."""

    def opened(*, clock: bool = False, **options: Any) -> Page:
        page = as_person("rita", **options)
        if clock:
            page.clock.install()
            page.reload()
        page.wait_for_selector('#connection[data-state="live"]')
        return page

    return opened


def select(page: Page, gate: str) -> None:
    """Choose a row and wait until the call is shown and the guard's time is over."""
    page.click(f'.row[data-id="{gate}"] a')
    page.wait_for_selector(f'#gate[data-id="{gate}"]:not([aria-busy="true"])')
    armed(page)


@contextlib.contextmanager
def standing_still(page: Page) -> Iterator[None]:
    """Stop the page's own clock, which the test may move on: so quick is nobody whose machine has other work to do."""
    # It can be put forward only, and runs on until it is told.
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 20)
    yield
    page.clock.resume()


def press_quickly(page: Page, keys: str) -> None:
    """Press keys, one every 50 ms of the page's own time."""
    with standing_still(page):
        for key in keys:
            page.keyboard.press(key)
            page.clock.run_for(50)


def armed(page: Page) -> None:
    """Wait until the guard's 600 ms are over: decisions are taken again."""
    page.wait_for_selector('#decide .refuse[aria-disabled="false"]')
