"""The webhook pages of the admin: own tenants only, the secret shown once, everything but it in the ledger."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client

from approvals.models import Notice, NoticeState, WebhookEndpoint
from routekit_site.tenancy.encryption import unseal
from routekit_site.tenancy.models import User
from tests.fixtures.gates import House
from tests.notices.conftest import Receiver
from traces.models import LedgerEntry

ClientOf = Callable[[User], Client]
ENDPOINTS = "/admin/approvals/webhookendpoint/"
LOG = "/admin/approvals/notice/"


def _form(house: House, url: str = "https://hooks.example.org/routekit") -> dict[str, object]:
    return {"tenant": house.cast.acme.pk, "url": url, "description": "", "events": ["gate.waiting"], "enabled": "on"}


def test_the_secret_is_shown_once_and_stored_sealed(house: House, client_of: ClientOf) -> None:
    client = client_of(house.cast.adam)
    page = client.post(f"{ENDPOINTS}add/", _form(house))
    shown = re.search(r"whsec_[A-Za-z0-9+/=]+", page.text)
    assert shown is not None
    assert "no-store" in page["Cache-Control"]
    (endpoint,) = WebhookEndpoint.objects.all()
    assert unseal(endpoint.secret_sealed) == shown[0]
    for address in (ENDPOINTS, f"{ENDPOINTS}{endpoint.pk}/change/", LOG):
        assert "whsec_" not in client.get(address).text
    entries = str(list(LedgerEntry.objects.values_list("facts", flat=True)))
    assert "https://hooks.example.org" in entries
    assert "whsec_" not in entries
    rotated = client.post(f"{ENDPOINTS}{endpoint.pk}/rotate/")
    assert "whsec_" in rotated.text
    assert shown[0] not in rotated.text


@pytest.mark.parametrize("url", ["http://example.org/", "https://127.0.0.1/", "https://10.1.2.3/", "nonsense"])
def test_an_address_that_would_never_be_sent_to_is_refused_at_the_field(
    house: House, client_of: ClientOf, url: str
) -> None:
    page = client_of(house.cast.adam).post(f"{ENDPOINTS}add/", _form(house, url))
    assert "errorlist" in page.text
    assert not WebhookEndpoint.objects.exists()


def test_a_tenant_has_ten_at_most(house: House, client_of: ClientOf) -> None:
    client = client_of(house.cast.adam)
    for number in range(11):
        page = client.post(f"{ENDPOINTS}add/", _form(house, f"https://hooks.example.org/{number}"))
    assert "at most 10 webhooks" in page.text
    assert WebhookEndpoint.objects.count() == 10


def test_the_buttons_send_a_test_and_send_again(
    house: House, client_of: ClientOf, endpoint: WebhookEndpoint, receiver: Receiver, tell: Callable[..., int]
) -> None:
    client = client_of(house.cast.adam)
    client.post(f"{ENDPOINTS}{endpoint.pk}/test/")
    tell(5)
    assert b'"type":"test"' in receiver.came[0][1]
    assert "Send again" in client.get(LOG).text
    notice = Notice.objects.get()
    assert "sent again in a moment" in client.post(f"{LOG}replay/", {"notice": notice.pk}, follow=True).text
    assert "waits to be sent already" in client.post(f"{LOG}replay/", {"notice": notice.pk}, follow=True).text
    notice.refresh_from_db()
    assert notice.state == NoticeState.WAITING


def test_strangers_and_members_without_the_capability_get_nowhere(
    house: House, client_of: ClientOf, endpoint: WebhookEndpoint, tell: Callable[..., int]
) -> None:
    house.open()
    tell()
    notice = Notice.objects.get()
    acts = (f"{ENDPOINTS}{endpoint.pk}/rotate/", f"{ENDPOINTS}{endpoint.pk}/test/")
    before = bytes(WebhookEndpoint.objects.get().secret_sealed)
    for person, status in ((house.cast.ada, 404), (house.cast.audra, 403), (house.cast.rita, 403)):
        client = client_of(person)
        for address in acts:
            assert client.post(address).status_code in {status, 403, 404}
        assert client.post(f"{LOG}replay/", {"notice": notice.pk}).status_code in {403, 404}
        assert client.get(f"{ENDPOINTS}{endpoint.pk}/change/").status_code in {403, 404}
    assert client_of(house.cast.adam).get(acts[0]).status_code == 405
    assert client_of(house.cast.adam).post(f"{LOG}replay/", {"notice": "nonsense"}).status_code == 404
    assert bytes(WebhookEndpoint.objects.get().secret_sealed) == before
    notice.refresh_from_db()
    assert notice.state == NoticeState.DELIVERED
    assert str(endpoint.pk) not in client_of(house.cast.ada).get(ENDPOINTS).text


def test_an_admin_of_one_tenant_makes_none_for_another(house: House, client_of: ClientOf) -> None:
    page = client_of(house.cast.ada).post(f"{ENDPOINTS}add/", _form(house))
    assert "errorlist" in page.text
    assert not WebhookEndpoint.objects.exists()
