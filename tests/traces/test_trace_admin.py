"""The admin over traces: who sees which, that nobody changes any, filters, search, paging, the page of one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.urls import reverse

from routekit_site.tenancy.models import Tenant, User
from tests.fixtures.cast import Cast
from traces import ledger, recorder
from traces.kinds import EventKind, LedgerKind
from traces.models import LedgerEntry, Trace, TraceEvent

LIST = "/admin/traces/trace/"
ClientOf = Callable[[User], Client]


def make_trace(tenant: Tenant, submitter: User, prompt: str, now: datetime, **head: Any) -> UUID:
    """A trace with a gate that rita approved."""
    run, gate = uuid4(), uuid4()
    recorder.open_trace(
        tenant_id=tenant.pk, run_id=run, agent_name="Files", submitter_id=submitter.pk, prompt=prompt, now=now
    )
    facts: dict[str, Any] = {"tool": "write_file", "state": "pending"}
    recorder.record(run_id=run, kind=EventKind.GATE_OPENED, payload=facts, now=now, call_id="c", gate_id=gate)
    facts |= {"state": "approved", "kind": "approve", "arguments": [{"to": "erika.mustermann@example.org"}]}
    recorder.record(
        run_id=run,
        kind=EventKind.GATE_DECIDED,
        payload=facts,
        now=now + timedelta(minutes=2),
        call_id="c",
        gate_id=gate,
        actor="rita",
    )
    recorder.note_summary(
        run_id=run, state="succeeded", **{"tool": "write_file", "reviewer": "rita", "decision": "approve", **head}
    )
    return run


def listed(client: Client, query: str = "") -> set[str]:
    """The runs on a page of the list."""
    answer = client.get(f"{LIST}{query}")
    assert answer.status_code == 200, answer
    return {str(trace.pk) for trace in answer.context["cl"].result_list}


@pytest.fixture
def traces(cast: Cast, now: datetime) -> tuple[UUID, UUID]:
    """A trace of acme and one of globex."""
    return make_trace(cast.acme, cast.alice, "Read the plan", now), make_trace(cast.globex, cast.carol, "Plan", now)


def test_each_sees_own_tenants_only(cast: Cast, client_of: ClientOf, traces: tuple[UUID, UUID]) -> None:
    ours, theirs = traces
    for person, mine, other in ((cast.adam, ours, theirs), (cast.audra, ours, theirs), (cast.ada, theirs, ours)):
        client = client_of(person)
        assert listed(client) == {str(mine)}
        assert client.get(f"{LIST}{mine}/change/").status_code == 200
        assert client.get(f"{LIST}{other}/change/").status_code == 404


def test_those_without_the_capability_are_refused(cast: Cast, client_of: ClientOf, traces: tuple[UUID, UUID]) -> None:
    operator = User.objects.create_superuser("root", password="a password of the tests")
    answers = {
        person.username: (
            client_of(person).get(LIST).status_code,
            client_of(person).get(f"{LIST}{traces[0]}/change/").status_code,
        )
        for person in (cast.alice, cast.rita, cast.carol, cast.oscar, operator)
    }
    assert all(code in {302, 403, 404} for pair in answers.values() for code in pair), answers
    assert Client().get(LIST).status_code == 302


@pytest.mark.parametrize("path", ["{}/change/", "{}/delete/", "add/", "", "{}/history/"])
def test_nobody_changes_a_trace(cast: Cast, client_of: ClientOf, traces: tuple[UUID, UUID], path: str) -> None:
    before = list(Trace.objects.order_by("pk").values()), list(TraceEvent.objects.order_by("pk").values())
    cast.adam.is_superuser = cast.adam.is_staff = True
    cast.adam.save()
    answer = client_of(cast.adam).post(
        LIST + path.format(traces[0]),
        {"state": "failed", "action": "delete_selected", "_selected_action": str(traces[0]), "post": "yes"},
    )
    assert answer.status_code in {200, 302, 403, 405}
    assert before == (list(Trace.objects.order_by("pk").values()), list(TraceEvent.objects.order_by("pk").values()))


def test_the_page_of_a_trace_shows_events_waits_and_chips(
    cast: Cast, client_of: ClientOf, traces: tuple[UUID, UUID]
) -> None:
    page = client_of(cast.adam).get(f"{LIST}{traces[0]}/change/").content.decode()
    assert page.count("<details") == 3
    assert "[redacted: email]" in page
    assert "erika" not in page
    assert 'fill="url(#hatch)"' in page
    assert "approval: write_file</b> 2 min 0 s, approved by rita" in page
    gate = TraceEvent.objects.filter(trace=traces[0], number=2).values_list("gate_id", flat=True).get()
    assert reverse("gate", args=[gate]) in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?state=succeeded", True),
        ("?state=failed", False),
        ("?agent_name=Files", True),
        ("?tool=write_file", True),
        ("?tool=write", False),
        ("?decision=approve", True),
        ("?reviewer=rita", True),
        ("?reviewer=rolf", False),
        ("?duration=minute", True),
        ("?duration=longer", False),
        ("?cost=cent", True),
        ("?cost=none", False),
        ("?cost=nonsense", True),
        ("?submitter=nobody", False),
        (f"?submitter={'9' * 30}", False),
        ("?tool=%00", False),
        ("?agent_name=%00", False),
        ("?q=PLAN", True),
        ("?q=mustermann", False),
        ("?q=write_file", True),
        ("?q=gate.decided", True),
        ("?q=Gate.Decided", True),
        ("?q=tool.finished", False),
        ("?q=%00", False),
    ],
)
def test_filters_and_search(cast: Cast, client_of: ClientOf, now: datetime, query: str, *, found: bool) -> None:
    run = make_trace(
        cast.acme, cast.alice, "Read the plan", now, finished_at=now + timedelta(seconds=30), cost_microdollars=7
    )
    assert listed(client_of(cast.adam), query) == ({str(run)} if found else set())


def test_the_submitter_filter_names_people(cast: Cast, client_of: ClientOf, traces: tuple[UUID, UUID]) -> None:
    client = client_of(cast.adam)
    assert listed(client, f"?submitter={cast.alice.pk}") == {str(traces[0])}
    assert listed(client, f"?submitter={cast.rita.pk}") == set()


def test_search_goes_into_nested_lists_and_beyond_ascii(cast: Cast, client_of: ClientOf, now: datetime) -> None:
    run = make_trace(cast.acme, cast.alice, "x", now)
    payload = {"a": [{"b": [{"c": "Straßenbahn", "d": "ÄPFEL"}]}]}
    recorder.record(run_id=run, kind=EventKind.NOTE, payload=payload, now=now)
    for term in ("Straßenbahn", "straßenbahn", "äpfel", "Äpfel", str(run), str(run).upper()):
        assert listed(client_of(cast.adam), f"?q={term}") == {str(run)}
    for term in (str(cast.acme.pk), str(uuid4())):
        assert listed(client_of(cast.adam), f"?q={term}") == set()


def test_paging_meets_every_trace_once_in_order(cast: Cast, client_of: ClientOf, now: datetime) -> None:
    runs = [
        make_trace(cast.acme, cast.alice, f"job {number}", now + timedelta(seconds=number // 3))
        for number in range(117)
    ]
    client, query, met = client_of(cast.adam), "", []
    while True:
        changes = client.get(f"{LIST}{query}").context["cl"]
        met += [(trace.started_at, trace.pk) for trace in changes.result_list]
        if not changes.older_link:
            break
        query = changes.older_link
    assert met == sorted(met, reverse=True)
    assert {pk for _, pk in met} == set(runs)
    assert len(met) == 117
    for nonsense in ("?before=x", "?before=2026-01-01~", "?before=2026-03-02T09:30:00%2B00:00~zz", "?before=~", "?p=7"):
        assert client.get(LIST + nonsense).status_code == 200


def test_the_list_counts_nothing_and_costs_the_same_with_more_rows(
    cast: Cast, client_of: ClientOf, now: datetime, django_assert_max_num_queries: Any
) -> None:
    for number in range(60):
        make_trace(cast.acme, cast.alice, f"job {number}", now)
    client = client_of(cast.adam)
    with django_assert_max_num_queries(25) as captured:
        listed(client)
    assert not [query["sql"] for query in captured if "COUNT(" in query["sql"].upper()]


def test_the_ledger_is_shown_to_its_tenant_and_never_changed(cast: Cast, client_of: ClientOf, now: datetime) -> None:
    for tenant in (cast.acme, cast.globex):
        ledger.append(tenant_id=tenant.pk, kind=LedgerKind.DECISION, actor="rita", facts={"gate": "g-1"}, now=now)
    ours, theirs = LedgerEntry.objects.get(tenant=cast.acme), LedgerEntry.objects.get(tenant=cast.globex)
    client = client_of(cast.audra)
    answer = client.get("/admin/traces/ledgerentry/?q=g-1")
    assert [entry.pk for entry in answer.context["cl"].result_list] == [ours.pk]
    page = client.get(f"/admin/traces/ledgerentry/{ours.pk}/change/").content.decode()
    assert ours.hash in page
    assert client.get(f"/admin/traces/ledgerentry/{theirs.pk}/change/").status_code == 404
    assert client.post(f"/admin/traces/ledgerentry/{ours.pk}/change/", {"actor": "mallory"}).status_code == 403
    assert client.post(f"/admin/traces/ledgerentry/{ours.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client_of(cast.rita).get("/admin/traces/ledgerentry/").status_code == 403


class _Inline(HTMLParser):
    """Collects what the content security policy would block."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attrs}
        if tag == "style" or (tag == "script" and "src" not in names and ("type", "application/json") not in attrs):
            self.found.append(tag)
        self.found += [name for name in names if name == "style" or name.startswith("on")]


def test_no_page_needs_inline_styles_or_scripts(
    cast: Cast, client_of: ClientOf, traces: tuple[UUID, UUID], now: datetime
) -> None:
    ledger.append(tenant_id=cast.acme.pk, kind=LedgerKind.DECISION, actor="rita", facts={}, now=now)
    entry = LedgerEntry.objects.get()
    client = client_of(cast.adam)
    for path in (
        LIST,
        f"{LIST}{traces[0]}/change/",
        "/admin/traces/ledgerentry/",
        f"/admin/traces/ledgerentry/{entry.pk}/change/",
    ):
        answer = client.get(path)
        reader = _Inline()
        reader.feed(answer.content.decode())
        assert reader.found == [], path
        assert "'unsafe-inline'" not in answer.headers["Content-Security-Policy"]
