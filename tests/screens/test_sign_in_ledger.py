"""The ledger of each tenant notes who came in, who failed and which second step changed; without an e-mail address."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_removed
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from routekit_site.tenancy.models import Membership, Tenant, User
from tests.fixtures.cast import PASSWORD, Cast
from traces import ledger, sign_ins, tasks
from traces.errors import LedgerWriteFailed
from traces.kinds import LedgerKind
from traces.models import LedgerEntry


@pytest.fixture(autouse=True)
def _no_limits_left_over() -> None:
    cache.clear()


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was rung for the worker, which does it when `work` says so."""
    calls: list[dict[str, Any]] = []

    def send(name: str, *, kwargs: dict[str, Any], **_options: Any) -> None:
        assert name == tasks.note_failure.name
        calls.append(kwargs)

    monkeypatch.setattr("traces.receivers.current_app.send_task", send)
    return calls


def noted(tenant: Tenant) -> list[tuple[str, str]]:
    found = LedgerEntry.objects.filter(tenant=tenant, kind=LedgerKind.SIGN_IN).order_by("number")
    return [(entry.actor, ledger.facts_of(entry)["act"]) for entry in found]


def attempt(name: str, password: str) -> int:
    return Client().post("/sign-in/", {"username": name, "password": password}).status_code


def test_a_sign_in_is_noted_in_every_tenant_of_the_account(cast: Cast) -> None:
    Membership.objects.create(user=cast.rita, tenant=cast.globex, role="auditor")
    assert attempt("rita", PASSWORD) == 302
    for tenant in (cast.acme, cast.globex):
        assert noted(tenant) == [("rita", "sign-in")]
        assert not ledger.verify(tenant.pk)
    assert "password" in LedgerEntry.objects.filter(tenant=cast.acme)[0].facts
    assert PASSWORD not in str(list(LedgerEntry.objects.values()))
    assert attempt("oscar", PASSWORD) == 302
    assert LedgerEntry.objects.count() == 2


def test_failures_and_the_lock_out_are_noted_once_a_minute(cast: Cast, rung: list[dict[str, Any]]) -> None:
    for _ in range(7):
        attempt("rita", "wrong")
    assert {"user_id": cast.rita.pk, "act": "lock-out"} in rung
    for call in rung:
        sign_ins.note_failure(**call, now=timezone.now())
    assert sorted(noted(cast.acme)) == [("rita", "failed sign-in"), ("rita", "lock-out")]
    assert noted(cast.globex) == []


def test_a_name_that_is_no_accounts_rings_alike_and_leaves_nothing(cast: Cast, rung: list[dict[str, Any]]) -> None:
    for name in ("nobody-here", "\x00", "x" * 500):
        attempt(name, "wrong")
    attempt("rita", "wrong")
    assert {call["user_id"] for call in rung} == {0, cast.rita.pk}
    for call in rung:
        sign_ins.note_failure(**call, now=timezone.now())
    assert noted(cast.acme) == [("rita", "failed sign-in")]


def test_a_broker_that_is_away_keeps_nobody_out(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    del cast

    def send(*_args: Any, **_options: Any) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("traces.receivers.current_app.send_task", send)
    assert attempt("rita", "wrong") == 200
    assert attempt("rita", PASSWORD) == 302


@pytest.mark.parametrize("kind", ["totp", "webauthn", "recovery_codes"])
def test_a_change_of_a_second_step_is_noted(cast: Cast, kind: str, rf: Any) -> None:
    made = Authenticator(user=cast.rita, type=kind, data={})
    for signal in (authenticator_added, authenticator_removed):
        signal.send(sender=Authenticator, request=rf.get("/"), user=cast.rita, authenticator=made)
    assert noted(cast.acme) == [("rita", "second step added"), ("rita", "second step removed")]


def test_setting_up_an_app_is_such_a_change(
    cast: Cast, client_of: Callable[[User], Client], django_capture_on_commit_callbacks: Any
) -> None:
    from allauth.mfa.totp.internal import auth  # noqa: PLC0415 - used here only

    client = client_of(cast.rita)
    client.get("/account/app/")
    secret = client.session[auth.SECRET_SESSION_KEY]
    code = auth.format_hotp_value(auth.hotp_value(secret, next(iter(auth.yield_hotp_counters_from_time()))))
    with django_capture_on_commit_callbacks(execute=True):
        assert client.post("/account/app/", {"code": code})["Location"] == "/account/recovery-codes/"
    assert ("rita", "second step added") in noted(cast.acme)


def test_a_name_that_is_an_address_is_not_kept(cast: Cast) -> None:
    address = "mara.lind" + "@example.org"
    User.objects.filter(pk=cast.rita.pk).update(username=address)
    assert attempt(address, PASSWORD) == 302
    assert noted(cast.acme) == [(f"account {cast.rita.pk}", "sign-in")]
    assert "mara" not in str(list(LedgerEntry.objects.values()))


def ways(tenant: Tenant) -> list[str]:
    found = LedgerEntry.objects.filter(tenant=tenant, kind=LedgerKind.SIGN_IN).order_by("number")
    return [ledger.facts_of(entry)["by"] for entry in found]


def test_a_click_on_a_button_of_the_demo_is_a_sign_in(cast: Cast, settings: Settings) -> None:
    settings.DEMO = True
    assert Client().post("/demo/sign-in/", {"username": "rita"}).status_code == 302
    assert noted(cast.acme) == [("rita", "sign-in")]
    assert ways(cast.acme) == ["demo button"]
    assert Client().post("/demo/sign-in/", {"username": "nobody"}).status_code == 404
    assert LedgerEntry.objects.count() == 1


def test_nobody_comes_in_by_a_button_when_it_cannot_be_noted(
    cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DEMO = True

    def fails(**_kwargs: Any) -> None:
        raise LedgerWriteFailed

    monkeypatch.setattr("traces.sign_ins.ledger.append", fails)
    client = Client(raise_request_exception=False)
    assert client.post("/demo/sign-in/", {"username": cast.rita.username}).status_code >= 500
    assert client.get("/queue/").status_code == 302


@pytest.mark.parametrize(("demo", "way"), [(False, "password at a terminal"), (True, "terminal of the demo")])
def test_a_command_that_acts_for_a_person_is_a_sign_in(
    cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch, *, demo: bool, way: str
) -> None:
    settings.DEMO = demo
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    call_command("runs", "--as", "rita", "--password-stdin", stdout=io.StringIO())
    assert noted(cast.acme) == [("rita", "sign-in")]
    assert ways(cast.acme) == [way]


def test_a_wrong_password_at_a_terminal_is_a_failed_one(
    cast: Cast, rung: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("wrong\n"))
    with pytest.raises(CommandError):
        call_command("runs", "--as", "rita", "--password-stdin", stdout=io.StringIO())
    assert rung == [{"user_id": cast.rita.pk, "act": "failed sign-in"}]
    assert noted(cast.acme) == []
