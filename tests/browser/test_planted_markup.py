"""Markup in every field that a person, a model or a tool can fill: every page shows it as text, and nothing of it runs.

The page fixture fails on what the Content-Security-Policy stops and on every error in the console: a tag that was not
escaped can neither load its picture nor run its handler unnoticed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.fixtures.addresses import every_address
from tests.fixtures.browsers import Complaints
from tests.fixtures.people import Person
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site

X = "<img src=/planted onerror=planted=1><script>planted=1</script>'\"{{7*7}}"
SECRET = "a password of this test"
PLANT = f"""
from django.utils import timezone
from routekit_site.tenancy.models import *
from agents.models import Agent
from approvals.models import ToolAllowance, WebhookEndpoint
X, SECRET = {X!r}, {SECRET!r}
tenant = Tenant.objects.create(slug="planted", name=X)
for name, role in (("eve", "developer"), ("ron", "reviewer"), ("ann", "admin")):
    user = User.objects.create_user(name + "-planted", "", SECRET, first_name=X, last_name=name)
    Membership.objects.create(user=user, tenant=tenant, role=role)
acme = Agent.objects.filter(tenant__slug="acme")[0]
agent = Agent.objects.create(tenant=tenant, name=X, description=X, instructions=X, sandbox=acme.sandbox)
for tool, mode in (("calculator", "allow"), ("list_directory", "allow"), ("write_file", "ask"), ("read_file", "allow")):
    ToolAllowance.objects.create(tenant=tenant, tool=tool, mode=mode)
WebhookEndpoint.objects.create(
    tenant=tenant, url="https://hooks.example.org/?a=" + X, description=X, events=["gate.decided"]
)
now = timezone.now()
Halt.objects.create(scope="agent:0", tenant=tenant, agent="0", agent_name=X, reason=X, halted_at=now, halted_by=X,
                    lifted_at=now, lifted_by=X)
"""


def planted(site: Site) -> tuple[str, str]:
    """A run of the planted tenant that waits for a person, and its gate; with remarks around it."""
    site.manage("shell", "-c", PLANT)
    eve, ron = (_person(site, name) for name in ("eve", "ron"))
    calls = [
        ("write_file", {"path": f"a-{X.replace('/', '-')[:60]}.txt", "text": f"{X}\n{X}\n", X: X}),
        ("write_file", {"path": "b.txt", "text": f"{X}\n"}),
        ("calculator", {"expression": X}),
        (X.split(" ", maxsplit=1)[0], {"a": X}),
    ]
    run = eve.submit("\n".join([X, *(f"{name} {json.dumps(arguments)}" for name, arguments in calls)]))
    gate = ron.gate_of(run)
    for path, field in (("say/question/", "text"), ("say/note/", "text")):
        ron.post(f"/queue/{gate['id']}/{path}", {"csrfmiddlewaretoken": _token(ron), field: X, "body": X, "reason": X})
    other = next((row for row in ron.waiting() if row["run"] == run and row["id"] != gate["id"]), None)
    if other is not None:
        ron.reject(other, X)
    return run, gate["id"]


def _token(person: Person) -> str:
    return person.get("/settings/").split('name="csrfmiddlewaretoken" value="', 1)[1].split('"', 1)[0]


def _person(site: Site, name: str) -> Person:
    return Person(site, site.sign_in(f"{name}-planted", SECRET))


def addresses(site: Site, run: str, gate: str) -> list[str]:
    """Every address of the site with the ids of the planted tenant."""
    with sqlite3.connect(site.database) as database:

        def newest(table: str) -> str:
            (tenant,) = database.execute("SELECT id FROM tenancy_tenant WHERE slug = 'planted'").fetchone()
            found = database.execute(f"SELECT max(id) FROM {table} WHERE tenant_id = ?", (tenant,)).fetchone()[0]
            return str(found or 1)

        ids = {
            "run_id": run,
            "gate_id": gate,
            "traces/trace": run,
            "content_type_id": "1",
            "token": "x",
            "kind": "x",
            "agents/agent": newest("agents_agent"),
            "approvals/toolallowance": newest("approvals_toolallowance"),
            "approvals/webhookendpoint": newest("approvals_webhookendpoint"),
            "traces/ledgerentry": newest("traces_ledgerentry"),
            "tenancy/halt": newest("tenancy_halt"),
            "member_id": newest("tenancy_membership"),
            "object_id": "1",
            "pk": "1",
            "provider_id": "x",
        }
    database.close()
    left_out = {"/sign-out/", "/admin/logout/", "/readyz", "/healthz", "/metrics"}
    return [address.path for address in every_address(ids) if address.path not in left_out]


@pytest.mark.slow
def test_nothing_planted_runs_on_any_page(
    new_page: Callable[..., Page], embedded: Site, complaints: Complaints
) -> None:
    # The page that the demo's agents fetch has no icon.
    complaints.expect("favicon.ico")
    run, gate = planted(embedded)
    shown, seen = addresses(embedded, run, gate), []
    for name in ("ann", "ron", "eve"):
        person = _person(embedded, name)
        answers = {path: person.client.get(path, follow_redirects=False) for path in shown}
        pages = [
            path
            for path, answer in answers.items()
            if answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
        ]
        page = new_page()
        page.goto(f"{embedded.url}/sign-in/")
        page.fill("#id_username", f"{name}-planted")
        page.fill("#id_password", SECRET)
        page.click("button.main")
        page.wait_for_url(lambda url: "/sign-in/" not in url)
        for path in pages:
            page.goto(embedded.url + path, wait_until="load")
            found: Any = page.evaluate(
                "[typeof planted, document.querySelectorAll('[onerror], img[src*=planted]').length]"
            )
            assert found == ["undefined", 0], f"{name}: {path}"
            seen += [path] * (X in page.inner_text("body"))
        # What scripts render: the queue's rows and the call beside them.
        if name == "ron":
            page.goto(f"{embedded.url}/queue/")
            page.click(f'.row[data-id="{gate}"] a')
            page.wait_for_selector(f'#gate[data-id="{gate}"]:not([aria-busy="true"])')
            assert page.evaluate("typeof planted") == "undefined"
    # It stood there to be seen.
    assert len(set(seen)) > 12, sorted(set(seen))
    eventually(lambda: page.evaluate("typeof planted") == "undefined", what="no script of the texts")
