"""What an outsider or another tenant's admin would send: forms without a token, others' rows, extra fields."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agents.models import Agent, Run, TenantCeiling
from approvals.models import PersonalSettings, TenantPolicy, ToolAllowance, WebhookEndpoint
from routekit_site.tenancy.models import Halt, Membership, Tenant, User
from routekit_site.tenancy.roles import Role
from tests.fixtures.addresses import every_address
from tests.fixtures.cast import PASSWORD, Cast, make_user
from tests.fixtures.gates import House
from traces.models import EncryptionPolicy, RedactionPolicy, RetentionPolicy

ClientOf = Callable[[User], Client]
# What a request may write though it is refused: who is signed in and when, and what the limits count.
VOLATILE = {"sessions.session", "axes.accessattempt", "axes.accessfailurelog", "tenancy.heartbeat"}


@pytest.fixture
def acme(house: House, agent: Agent, submit: Callable[..., Run]) -> dict[type[Model], Model]:
    """Acme with a row of every kind that an admin's page changes."""
    tenant = house.cast.acme
    house.open()
    submit()
    return {
        Agent: agent,
        ToolAllowance: ToolAllowance.objects.filter(tenant=tenant)[0],
        TenantPolicy: TenantPolicy.objects.create(tenant=tenant),
        TenantCeiling: TenantCeiling.objects.create(tenant=tenant),
        RetentionPolicy: RetentionPolicy.objects.create(tenant=tenant),
        EncryptionPolicy: EncryptionPolicy.objects.create(tenant=tenant),
        RedactionPolicy: RedactionPolicy.objects.create(tenant=tenant, version=1),
        WebhookEndpoint: WebhookEndpoint.objects.create(
            tenant=tenant, url="https://hooks.example.org/a", events=["gate.decided"]
        ),
        Halt: Halt.objects.create(
            scope="x", tenant=tenant, reason="stop", halted_at=timezone.now(), halted_by="adam", agent=""
        ),
    }


def snapshot() -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, but for what a refused request may write."""
    models = [model for model in apps.get_models() if model._meta.label_lower not in VOLATILE]
    return {model._meta.label: sorted(model._default_manager.values_list(), key=repr) for model in models}


def page_of(row: Model, name: str = "change") -> str:
    label = f"{row._meta.app_label}_{row._meta.model_name}"
    return reverse(f"admin:{label}_{name}", args=[row.pk] if name in {"change", "delete", "history"} else [])


def has_page(row: Model) -> bool:
    return admin.site.is_registered(type(row))


class _Fields(HTMLParser):
    """The fields of an admin page's form, as a browser would send them back untouched."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[str, Any] = {}
        self._name = ""
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        name = known.get("name") or ""
        if tag == "input" and name and known.get("type") not in {"submit", "button"}:
            if known.get("type") not in {"checkbox", "radio"} or "checked" in known:
                self.sent.setdefault(name, []).append(known.get("value") or "on" * ("checked" in known))
        elif tag in {"select", "textarea"}:
            self._name, self._text = name, ""
        elif tag == "option" and "selected" in known:
            self.sent.setdefault(self._name, []).append(known.get("value") or "")

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self.sent[self._name] = [self._text.removeprefix("\n")]


def filled(client: Client, path: str) -> dict[str, Any]:
    """The form of an admin page as a browser would send it back; empty where there is none to change."""
    answer = client.get(path)
    if answer.status_code != 200 or "adminform" not in (answer.context or {}):
        return {}
    fields = _Fields()
    fields.feed(answer.text.split('id="content-main"', 1)[1])
    return {name: value for name, value in fields.sent.items() if name != "csrfmiddlewaretoken"}


# Forged requests ------------------------------------------------------------------------------------------------------


@pytest.fixture
def paths(acme: dict[type[Model], Model], cast: Cast) -> list[str]:
    ids = {f"{model._meta.app_label}/{model._meta.model_name}": str(row.pk) for model, row in acme.items()}
    run = Run.objects.get()
    more = {"run_id": str(run.pk), "gate_id": str(uuid.uuid4()), "object_id": "1", "token": "x", "kind": "question"}
    own = {"member_id": str(Membership.objects.get(user=cast.rita).pk), "provider_id": "oidc", "content_type_id": "1"}
    return [address.path for address in every_address(ids | more | own | {"pk": "1"})]


@pytest.mark.parametrize("forged", ["no token", "a token of another session", "another origin", "a text that is none"])
def test_no_address_takes_a_form_that_another_site_could_send(
    cast: Cast, paths: list[str], forged: str, client_of: ClientOf
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.adam)
    sent, headers = {"post": "yes", "role": "admin", "_save": "Save"}, {}
    if forged == "a token of another session":
        stranger = client_of(cast.ada)
        stranger.get("/jobs/")
        sent["csrfmiddlewaretoken"] = stranger.cookies["csrftoken"].value
    elif forged == "another origin":
        client.get("/jobs/")
        sent["csrfmiddlewaretoken"] = client.cookies["csrftoken"].value
        headers = {"origin": "https://evil.example"}
    elif forged == "a text that is none":
        sent["csrfmiddlewaretoken"] = "\x00" * 64
    before = snapshot()
    client.raise_request_exception = False
    statuses = {path: client.post(path, sent, headers=headers).status_code for path in paths}
    # 403: no token. 404 and 405: no such thing, or nothing to send there.
    assert {path: status for path, status in statuses.items() if status not in {403, 404, 405}} == {}
    assert sum(status == 403 for status in statuses.values()) > 60
    assert snapshot() == before


# Out of one's own tenant ----------------------------------------------------------------------------------------------


def attempts(own: dict[str, Any], row: Model, tenant: Tenant) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ways to add, change and delete by POST, with a form that adam himself could send."""
    yield page_of(row), {**own, "_save": "Save"}
    yield page_of(row), {**own, "tenant": tenant.pk, "_saveasnew": "1"}
    yield page_of(row, "add"), {**own, "tenant": tenant.pk}
    yield page_of(row, "delete"), {"post": "yes"}
    for action in ("delete_selected", "lift", "revoke", "release"):
        chosen = {"action": action, "_selected_action": [row.pk], "select_across": "1", "post": "yes", "index": "0"}
        yield page_of(row, "changelist"), chosen
    yield page_of(row, "changelist"), {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "form-0-id": row.pk, **own}


@pytest.mark.parametrize("person", ["ada", "alice", "rita", "audra", "carol", "operator", "staff"])
def test_nobody_but_acmes_admin_changes_acmes_rows(
    acme: dict[type[Model], Model], cast: Cast, client_of: ClientOf, person: str
) -> None:
    if person in {"operator", "staff"}:
        User.objects.filter(pk=cast.oscar.pk).update(is_superuser=person == "operator", is_staff=True)
        cast.oscar.refresh_from_db()
    user = cast.oscar if person in {"operator", "staff"} else getattr(cast, person)
    adam, client = client_of(cast.adam), client_of(user)
    forms = {row: filled(adam, page_of(row)) for row in acme.values() if has_page(row)}
    assert sum(bool(own) for own in forms.values()) >= 6
    client.raise_request_exception = False
    before = snapshot()
    for row, own in forms.items():
        for path, sent in attempts(own, row, cast.acme):
            answer = client.post(path, sent)
            assert answer.status_code < 500, path
    assert snapshot() == before


def test_the_same_forms_work_for_acmes_own_admin(
    acme: dict[type[Model], Model], cast: Cast, client_of: ClientOf
) -> None:
    """Else the test above would prove nothing."""
    adam, row = client_of(cast.adam), acme[Agent]
    own = filled(adam, page_of(row))
    answer = adam.post(page_of(row), {**own, "description": "Changed by its admin"})
    assert answer.status_code == 302, answer.context["errors"]
    row.refresh_from_db()
    assert row.description == "Changed by its admin"  # type: ignore[attr-defined]


def test_an_account_that_is_an_operators_only_by_flag_gets_no_rows(cast: Cast, client_of: ClientOf) -> None:
    User.objects.filter(pk=cast.oscar.pk).update(is_staff=True)
    cast.oscar.refresh_from_db()
    client = client_of(cast.oscar)
    assert client.get("/admin/").status_code == 403
    assert client.get("/tenants/").status_code == 404
    assert AnonymousUser().is_staff is False


# More fields than the form has ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [Agent, ToolAllowance, TenantPolicy, WebhookEndpoint, RetentionPolicy])
def test_fields_that_a_form_does_not_have_are_not_taken(
    acme: dict[type[Model], Model], cast: Cast, client_of: ClientOf, model: type[Model]
) -> None:
    adam, row = client_of(cast.adam), acme[model]
    own = filled(adam, page_of(row))
    hidden = [field for field in model._meta.concrete_fields if field.name not in own and field.editable]
    before = {field.attname: getattr(row, field.attname) for field in hidden if not field.is_relation}
    hostile: dict[str, Any] = {field.name: "7777" for field in model._meta.concrete_fields if field.name not in own}
    hostile |= {"tenant": cast.globex.pk, "tenant_id": cast.globex.pk, "id": "7777", "pk": "7777", "version": "7777"}
    # Boxes that are not ticked are fields of the form, too.
    form = adam.get(page_of(row)).context["adminform"].form
    sent = {name: value for name, value in hostile.items() if name not in form.fields} | own
    answer = adam.post(page_of(row), sent)
    assert answer.status_code == 302, answer.context["errors"]
    changed = model._default_manager.get(pk=row.pk)
    assert changed.tenant_id == cast.acme.pk  # type: ignore[attr-defined]
    assert not model._default_manager.filter(tenant_id=cast.globex.pk).exists()
    counted = {"version", "updated_at", "changed_at"}
    for name, value in before.items():
        if name not in form.fields and name not in counted:
            assert getattr(changed, name) == value, name


def test_a_job_is_its_submitters_whatever_the_form_says(cast: Cast, agent: Agent, client_of: ClientOf) -> None:
    other = Agent.objects.create(tenant=cast.globex, name="Theirs")
    sent = {
        "agent": agent.pk,
        "prompt": "what is 6 * 7?",
        "idempotency_key": "k" * 32,
        "submitter": cast.rita.pk,
        "submitter_id": cast.rita.pk,
        "tenant": cast.globex.pk,
        "tenant_id": cast.globex.pk,
        "state": "succeeded",
        "agent_id": other.pk,
        "agent_version": "99",
        "id": str(uuid.uuid4()),
        "mac": "x",
        "deadline": "2999-01-01",
    }
    client = client_of(cast.alice)
    assert client.post("/jobs/new/", sent).status_code == 302
    run = Run.objects.get()
    assert (run.tenant_id, run.submitter_id, run.agent_id, run.state) == (
        cast.acme.pk,
        cast.alice.pk,
        agent.pk,
        "queued",
    )
    assert str(run.pk) != sent["id"]
    assert client.post("/jobs/new/", {**sent, "agent": other.pk, "idempotency_key": "j" * 32}).status_code == 422
    assert Run.objects.count() == 1


def test_ones_own_pages_change_nobody_elses(cast: Cast, client_of: ClientOf) -> None:
    client = client_of(cast.alice)
    extra = {"user": cast.rita.pk, "user_id": cast.rita.pk, "id": cast.rita.pk, "username": "rita", "role": "admin"}
    extra |= {"is_superuser": "on", "is_staff": "on", "tenant": cast.globex.pk}
    client.post("/settings/", {**extra, "time_zone": "UTC", "single_keys": "on"})
    assert [each.user_id for each in PersonalSettings.objects.all()] == [cast.alice.pk]
    new = "three words of the tests"
    form = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    assert client.post("/account/password/", {**form, **extra}).status_code == 302
    cast.rita.refresh_from_db()
    cast.alice.refresh_from_db()
    assert cast.rita.check_password(PASSWORD)
    assert cast.alice.check_password(new)
    assert not cast.alice.is_superuser
    assert not cast.alice.is_staff
    assert Membership.objects.get(user=cast.alice).role == "developer"
    assert client.post("/tenant/", {"tenant": cast.globex.pk}).status_code == 404


def test_a_sign_in_gives_no_more_than_the_account_has(cast: Cast) -> None:
    make_user("mallory", (cast.globex, Role.DEVELOPER))
    client = Client()
    sent = {"username": "mallory", "password": PASSWORD, "is_superuser": "1", "tenant": cast.acme.pk, "user": "adam"}
    assert client.post("/sign-in/", sent).status_code == 302
    assert client.get("/queue/").status_code == 403
    assert "Globex" in client.get("/jobs/").text
