"""Members and tenants on pages: invited, given a role, removed; never the last admin, never somebody else's tenant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from routekit_site.tenancy.models import Invitation, Membership, Tenant, User
from routekit_site.tenancy.reauthentication import SESSION_KEY
from tests.fixtures.cast import Cast
from traces import ledger
from traces.models import LedgerEntry

ClientOf = Callable[[User], Client]


@pytest.fixture
def adam(client_of: ClientOf, cast: Cast) -> Client:
    return client_of(cast.adam)


@pytest.fixture
def operator(client_of: ClientOf, cast: Cast) -> Client:
    User.objects.filter(pk=cast.oscar.pk).update(is_superuser=True, is_staff=True)
    cast.oscar.refresh_from_db()
    return client_of(cast.oscar)


def member(user: User, tenant: Tenant) -> Membership:
    return Membership.objects.get(user=user, tenant=tenant)


def role_of(user: User, tenant: Tenant) -> str | None:
    return Membership.objects.filter(user=user, tenant=tenant).values_list("role", flat=True).first()


def facts(tenant: Tenant) -> list[tuple[str, dict[str, Any]]]:
    found = LedgerEntry.objects.filter(tenant=tenant).order_by("number")
    return [(entry.actor, ledger.facts_of(entry)) for entry in found]


def link_in(answer: Any) -> str:
    """The path of the link that the page shows."""
    assert answer.status_code == 200, answer.status_code
    path: str = answer.context["link"].removeprefix("http://testserver")
    assert path in answer.text
    return path


def invited(client: Client, role: str = "developer") -> str:
    return link_in(client.post("/members/invite/", {"role": role}))


def forget_proof(client: Client) -> None:
    session = client.session
    session[SESSION_KEY] = timezone.now().timestamp() - 3600
    session.save()


def test_the_page_names_every_member_and_nobody_else(adam: Client, cast: Cast) -> None:
    text = adam.get("/members/").text
    for person in (cast.alice, cast.rita, cast.rolf, cast.adam, cast.audra):
        assert person.display_name in text
    for stranger in ("Carol", "Ravi", "Oscar", "@example.org", "Globex"):
        assert stranger not in text


def test_a_role_is_changed_and_the_ledger_knows(adam: Client, cast: Cast) -> None:
    answer = adam.post(f"/members/{member(cast.alice, cast.acme).pk}/role/", {"role": "reviewer"}, follow=True)
    assert "Alice Example is reviewer in Acme." in answer.text
    assert role_of(cast.alice, cast.acme) == "reviewer"
    change = {"act": "membership", "person": "alice", "before": "developer", "after": "reviewer"}
    assert facts(cast.acme) == [("adam", change)]
    # Sent again it changes nothing and says nothing.
    adam.post(f"/members/{member(cast.alice, cast.acme).pk}/role/", {"role": "reviewer"})
    assert len(facts(cast.acme)) == 1
    assert not ledger.verify(cast.acme.pk)


@pytest.mark.parametrize("role", ["", "owner", "superuser", "ADMIN", "\x00", "admin,reviewer"])
def test_a_role_that_is_none_is_refused(adam: Client, cast: Cast, role: str) -> None:
    assert adam.post(f"/members/{member(cast.alice, cast.acme).pk}/role/", {"role": role}).status_code == 422
    assert adam.post("/members/invite/", {"role": role}).status_code == 422
    assert role_of(cast.alice, cast.acme) == "developer"
    assert not Invitation.objects.exists()


def test_a_member_is_asked_about_and_removed(adam: Client, cast: Cast, client_of: ClientOf) -> None:
    rita, path = client_of(cast.rita), f"/members/{member(cast.rita, cast.acme).pk}/remove/"
    assert rita.get("/queue/").status_code == 200
    assert "Remove Rita Example?" in adam.get(path).text
    assert role_of(cast.rita, cast.acme) == "reviewer"
    assert adam.post(path)["Location"] == "/members/"
    assert role_of(cast.rita, cast.acme) is None
    assert rita.get("/queue/").status_code == 404
    assert facts(cast.acme)[-1][1]["after"] is None
    assert adam.post(path).status_code == 404


def test_the_last_admin_stays(adam: Client, cast: Cast) -> None:
    own = member(cast.adam, cast.acme)
    for path, sent in ((f"/members/{own.pk}/role/", {"role": "auditor"}), (f"/members/{own.pk}/remove/", {})):
        answer = adam.post(path, sent)
        assert answer.status_code == 409
        assert "Make somebody else an admin first" in answer.text
    assert role_of(cast.adam, cast.acme) == "admin"
    # Somebody whose account is off administers nothing.
    Membership.objects.filter(pk=member(cast.rolf, cast.acme).pk).update(role="admin")
    User.objects.filter(pk=cast.rolf.pk).update(is_active=False)
    assert adam.post(f"/members/{own.pk}/remove/").status_code == 409
    User.objects.filter(pk=cast.rolf.pk).update(is_active=True)
    assert adam.post(f"/members/{own.pk}/remove/")["Location"] == "/"
    assert role_of(cast.adam, cast.acme) is None


def test_an_invitation_is_accepted_once(adam: Client, cast: Cast, client_of: ClientOf) -> None:
    path = invited(adam, "reviewer")
    assert Invitation.objects.get().digest not in path
    assert path not in adam.get("/members/").text
    nobody = Client().get(path)
    assert nobody["Location"].startswith("/sign-in/?next=/invitation/")
    oscar = client_of(cast.oscar)
    page = oscar.get(path)
    assert "Join Acme?" in page.text
    assert role_of(cast.oscar, cast.acme) is None
    assert (
        "You are reviewer in Acme." in oscar.post(path, {"role": "admin", "tenant": cast.globex.pk}, follow=True).text
    )
    assert role_of(cast.oscar, cast.acme) == "reviewer"
    assert role_of(cast.oscar, cast.globex) is None
    assert client_of(cast.carol).post(path).status_code == 404
    assert [actor for actor, _ in facts(cast.acme)] == ["adam", "oscar"]
    assert facts(cast.acme)[1][1]["invited_by"] == "adam"


def test_a_member_cannot_raise_their_own_role_by_a_link(adam: Client, cast: Cast, client_of: ClientOf) -> None:
    path = invited(adam, "admin")
    answer = client_of(cast.alice).post(path)
    assert answer.status_code == 409
    assert role_of(cast.alice, cast.acme) == "developer"
    # It was not used up by that.
    assert client_of(cast.oscar).post(path).status_code == 302


def _withdrawn(adam: Client, cast: Cast) -> None:
    del cast
    adam.post(f"/members/invitations/{Invitation.objects.get().pk}/withdraw/")


def _too_old(adam: Client, cast: Cast) -> None:
    del adam, cast
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def _inviter_removed(adam: Client, cast: Cast) -> None:
    del adam
    Membership.objects.filter(user=cast.adam).delete()


def _inviter_demoted(adam: Client, cast: Cast) -> None:
    del adam
    Membership.objects.filter(user=cast.adam).update(role="auditor")


def _inviter_off(adam: Client, cast: Cast) -> None:
    del adam
    User.objects.filter(pk=cast.adam.pk).update(is_active=False)


@pytest.mark.parametrize("ends", [_withdrawn, _too_old, _inviter_removed, _inviter_demoted, _inviter_off])
def test_an_invitation_ends(
    adam: Client, cast: Cast, client_of: ClientOf, ends: Callable[[Client, Cast], None]
) -> None:
    path = invited(adam)
    ends(adam, cast)
    oscar = client_of(cast.oscar)
    for answer in (oscar.get(path), oscar.post(path)):
        assert answer.status_code == 404
        assert "not good any more" in answer.text
    assert role_of(cast.oscar, cast.acme) is None


@pytest.mark.parametrize("person", ["alice", "rita", "audra", "ada", "oscar"])
def test_only_an_admin_of_the_tenant_manages_its_members(
    client_of: ClientOf, adam: Client, cast: Cast, person: str
) -> None:
    invited(adam)
    client, before = client_of(getattr(cast, person)), sorted(Membership.objects.values_list("user", "tenant", "role"))
    target, open_one = member(cast.rolf, cast.acme).pk, Invitation.objects.get().pk
    wanted = {"alice": 403, "rita": 403, "audra": 403, "ada": 404, "oscar": 404}[person]
    for path, sent in (
        (f"/members/{target}/role/", {"role": "admin"}),
        (f"/members/{target}/remove/", {}),
        (f"/members/invitations/{open_one}/withdraw/", {}),
    ):
        assert client.post(path, sent).status_code == wanted, path
    assert client.get(f"/members/{target}/remove/").status_code == wanted
    if person != "ada":
        assert client.get("/members/").status_code == wanted
        assert client.post("/members/invite/", {"role": "admin"}).status_code == wanted
    assert sorted(Membership.objects.values_list("user", "tenant", "role")) == before
    assert Invitation.objects.get().closed_at is None
    for path in ("/tenants/", f"/tenants/{cast.acme.pk}/invite/"):
        assert client.post(path, {"name": "New", "slug": "new"}).status_code == 404
    assert Tenant.objects.count() == 2


def test_what_changes_members_asks_for_a_fresh_proof(adam: Client, operator: Client, cast: Cast) -> None:
    invited(adam)
    forget_proof(adam)
    forget_proof(operator)
    target = member(cast.rolf, cast.acme).pk
    for client, path, sent in (
        (adam, f"/members/{target}/role/", {"role": "admin"}),
        (adam, f"/members/{target}/remove/", {}),
        (adam, f"/members/invitations/{Invitation.objects.get().pk}/withdraw/", {}),
        (adam, "/members/invite/", {"role": "admin"}),
        (operator, "/tenants/", {"name": "New", "slug": "new"}),
    ):
        answer = client.post(path, sent)
        assert "that it is you" in answer.text or answer.status_code == 302, path
    assert role_of(cast.rolf, cast.acme) == "reviewer"
    assert Invitation.objects.filter(closed_at=None).count() == 1
    assert Tenant.objects.count() == 2


def test_an_operator_makes_a_tenant_and_sees_nothing_of_what_it_does(
    operator: Client, cast: Cast, client_of: ClientOf
) -> None:
    path = link_in(operator.post("/tenants/", {"name": "Northwind", "slug": "northwind"}))
    tenant = Tenant.objects.get(slug="northwind")
    assert client_of(cast.oscar).get("/jobs/").status_code == 404
    carol = client_of(cast.carol)
    assert "Join Northwind?" in carol.get(path).text
    carol.post(path)
    assert role_of(cast.carol, tenant) == "admin"
    assert [fact["act"] for _, fact in facts(tenant)] == ["tenant made", "invited", "membership"]
    # From here on it is the tenant's own to invite.
    assert operator.post(f"/tenants/{tenant.pk}/invite/").status_code == 404
    assert "Alice" not in operator.get("/tenants/").text


def test_an_operators_link_is_worth_nothing_once_the_tenant_has_an_admin(
    operator: Client, cast: Cast, client_of: ClientOf
) -> None:
    kept = link_in(operator.post("/tenants/", {"name": "Northwind", "slug": "northwind"}))
    used = link_in(operator.post(f"/tenants/{Tenant.objects.get(slug='northwind').pk}/invite/"))
    assert client_of(cast.carol).post(used).status_code == 302
    assert operator.post(kept).status_code == 404


@pytest.mark.parametrize(
    ("name", "slug"),
    [("", "x"), ("X", ""), ("X", "a b"), ("X", "../x"), ("X", "acme"), ("X" * 121, "x"), ("\x00", "x")],
)
def test_a_tenant_that_cannot_be_is_refused_at_the_field(operator: Client, name: str, slug: str) -> None:
    answer = operator.post("/tenants/", {"name": name, "slug": slug})
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert Tenant.objects.count() == 2
    assert not Invitation.objects.exists()


def test_names_made_to_mislead_are_shown_as_they_are(adam: Client, cast: Cast) -> None:
    User.objects.filter(pk=cast.alice.pk).update(first_name="<script>alert(1)</script>", last_name="admin\u202e")
    text = adam.get("/members/").text
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;" in text
