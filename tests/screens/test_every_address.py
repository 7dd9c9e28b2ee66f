"""Every address there is, as a stranger and as each role, with another tenant's ids: nothing opens, nothing breaks."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from django.test import Client

from agents.models import Agent, Run
from approvals.models import ToolAllowance
from routekit_site.tenancy.models import User
from tests.fixtures.addresses import Address, every_address
from tests.fixtures.cast import Cast
from tests.fixtures.gates import House
from traces.models import LedgerEntry

ClientOf = Callable[[User], Client]
MARK = "acme-only-7f3a"
# Open to everybody on purpose; each says nothing of a tenant. Forms of these are sent by people who are not signed in.
PUBLIC = {"/healthz", "/readyz", "/sign-in/", "/sign-in/inactive/", "/sign-in/cancelled/", "/oidc/oidc/login/"}
# Pages of the person's own, which name no object of a tenant.
REFUSED = {302, 400, 401, 403, 404, 405, 422}


@pytest.fixture
def acme(house: House, agent: Agent, submit: Callable[..., Run]) -> list[Address]:
    """Acme with something of everything, marked; the addresses with its ids."""
    Agent.objects.filter(pk=agent.pk).update(name=MARK, instructions=MARK, description=MARK)
    gate, run = house.open().gate, submit(f"read {MARK}.txt")
    allowance = ToolAllowance.objects.filter(tenant=house.cast.acme).first()
    entry = LedgerEntry.objects.filter(tenant=house.cast.acme).first()
    ids = {
        "gate_id": str(gate.pk),
        "run_id": str(run.pk),
        "pk": str(uuid.uuid4()),
        "object_id": str(house.cast.acme.pk),
        "content_type_id": "1",
        "token": "x",
        "provider_id": "oidc",
        "kind": "x",
        "traces/trace": str(run.pk),
        "traces/ledgerentry": str(entry.pk) if entry else "1",
        "agents/agent": str(agent.pk),
        "approvals/toolallowance": str(allowance.pk) if allowance else "1",
    }
    found = every_address(ids)
    # A passkey's id is a number, a webhook's a UUID; both arguments are called pk.
    return [Address(a.path.replace(ids["pk"], "1") if "passkeys" in a.path else a.path, a.names_object) for a in found]


def sweep(client: Client, addresses: list[Address], person: str) -> list[str]:
    """What is wrong with the answers to GET and POST of each address: one line each."""
    client.raise_request_exception = False
    wrong = []
    for address in addresses:
        if address.path in {"/sign-out/", "/admin/logout/"}:
            continue
        for method in ("GET", "POST"):
            answer = client.generic(method, address.path)
            text = answer.getvalue()
            line = f"{person}: {method} {address.path} -> {answer.status_code}"
            if answer.status_code >= 500 and address.path != "/readyz":
                wrong.append(f"{line}, broken")
            stranger = person in STRANGERS
            if stranger and address.names_object and answer.status_code not in REFUSED and address.path not in PUBLIC:
                wrong.append(f"{line}, open")
            if stranger and MARK.encode() in text:
                wrong.append(f"{line}, tells")
            if person == "nobody" and answer.status_code not in REFUSED and address.path not in PUBLIC:
                wrong.append(f"{line}, open without a sign-in")
    return wrong


STRANGERS = ("nobody", "ada", "operator")
MEMBERS = ("alice", "rita", "adam", "audra")


@pytest.mark.parametrize("person", [*STRANGERS, *MEMBERS])
def test_nothing_opens_and_nothing_breaks(client_of: ClientOf, cast: Cast, acme: list[Address], person: str) -> None:
    assert len(acme) > 80
    if person == "operator":
        User.objects.filter(pk=cast.oscar.pk).update(is_superuser=True, is_staff=True)
        cast.oscar.refresh_from_db()
    user = cast.oscar if person == "operator" else getattr(cast, person, None)
    client = Client() if user is None else client_of(user)
    assert sweep(client, acme, person) == []
    if person == "adam":
        # The mark is there to be found.
        assert MARK in client.get("/jobs/").text
        assert MARK in client.get("/admin/agents/agent/").text


def test_the_administration_has_pages_of_tenants_only(client_of: ClientOf, cast: Cast) -> None:
    User.objects.filter(pk=cast.adam.pk).update(is_superuser=True, is_staff=True)
    cast.adam.refresh_from_db()
    client = client_of(cast.adam)
    assert client.get("/admin/").status_code == 200
    for path in (
        "auth/group",
        "mfa/authenticator",
        "socialaccount/socialaccount",
        "account/emailaddress",
        "axes/accessattempt",
    ):
        assert client.get(f"/admin/{path}/").status_code == 404
    for text in ("Authenticators", "Groups", "Social"):
        assert text not in client.get("/admin/").text


@pytest.mark.parametrize(
    "page", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "\x00"]
)
@pytest.mark.parametrize("path", ["/sign-in/", "/demo/sign-in/", "/confirm/", "/admin/login/", "/oidc/oidc/login/"])
def test_no_address_leads_elsewhere(client_of: ClientOf, cast: Cast, path: str, page: str, settings: object) -> None:
    settings.DEMO = path.startswith("/demo")  # type: ignore[attr-defined]
    client = Client() if path in {"/sign-in/", "/demo/sign-in/"} else client_of(cast.adam)
    sent = {"username": "adam", "password": "a password of the tests", "next": page}
    for answer in (client.post(path, sent), client.get(path, {"next": page})):
        if answer.status_code == 302:
            assert answer["Location"].startswith("/")
            assert not answer["Location"].startswith(("//", "/\\"))
