"""The insights page: figures as charts and tables, whose times who sees, and the way to a rule that spares work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.test import Client

from approvals.charts import duration_scale, place, stacked
from approvals.insights import HABIT
from approvals.models import ApprovalGate, ToolAllowance
from routekit_site.tenancy.models import User
from tests.fixtures.gates import House

ClientOf = Callable[[User], Client]


@pytest.fixture
def approved(house: House) -> House:
    """A tenant in which one tool was approved every time."""
    ToolAllowance.objects.create(tenant=house.cast.acme, tool="write_file", mode="by_permission")
    ToolAllowance.objects.create(tenant=house.cast.acme, tool="read_file", mode="ask")
    past = replace(house, now=house.now - timedelta(hours=1))
    for number in range(HABIT):
        past.decide(past.open({"path": f"reports/{number}.txt", "text": "x"}), house.cast.rita, after=30 + number)
    return house


def test_charts_have_titles_and_their_figures_stand_in_tables(approved: House, client_of: ClientOf) -> None:
    page = client_of(approved.cast.adam).get("/insights/").text
    assert page.count("<svg") > page.count('role="img"') >= 4
    assert page.count("<title id=") == page.count("<desc id=") == page.count('role="img"')
    assert "<td>34 s</td>" in page, "the median, in a table"
    assert "Rita Example" in page
    assert "style=" not in page


def test_a_habit_leads_to_its_rule_with_one_click(approved: House, client_of: ClientOf) -> None:
    client = client_of(approved.cast.rita)
    page = client.get("/insights/").text
    assert f"approved {HABIT} times, rejected never" in page
    assert f"would have passed {HABIT - 1} of the calls" in page
    address = page.split('<a class="button" href="/queue/', 1)[1].split('"', 1)[0]
    remember = client.get(f"/queue/{address}")
    assert remember.status_code == 200
    assert 'value="similar" required checked' in remember.text


def test_who_may_not_make_the_rule_gets_no_link(approved: House, client_of: ClientOf) -> None:
    ApprovalGate.objects.update(requester=approved.cast.rita)
    page = client_of(approved.cast.rita).get("/insights/").text
    assert "/remember/" not in page
    assert "Somebody who may decide such calls can make it." in page


def test_what_was_rejected_once_is_no_habit(approved: House, client_of: ClientOf) -> None:
    opened = approved.open({"path": "reports/bad.txt", "text": "x"})
    approved.decide(opened, approved.cast.rita, opened.ballot("reject", reason="Wrong target"))
    assert "each question was worth asking" in client_of(approved.cast.rita).get("/insights/").text


def test_a_reviewer_sees_their_own_times_and_everybodys_an_admin_each_ones(
    approved: House, client_of: ClientOf
) -> None:
    assert "Rita Example" not in client_of(approved.cast.rolf).get("/insights/").text
    assert "everybody" in client_of(approved.cast.rolf).get("/insights/").text
    own = client_of(approved.cast.rita).get("/insights/").text
    assert '<text class="label" x="0" y="15">Rita Example</text>' in own


def test_unused_tools_are_named(approved: House, client_of: ClientOf) -> None:
    assert '<code class="tag">read_file</code>' in client_of(approved.cast.adam).get("/insights/").text


def test_strangers_and_other_roles_see_nothing(approved: House, client_of: ClientOf) -> None:
    assert client_of(approved.cast.alice).get("/insights/").status_code == 403
    assert client_of(approved.cast.oscar).get("/insights/").status_code == 404
    assert Client().get("/insights/").status_code == 302
    assert "write_file" not in client_of(approved.cast.ravi).get("/insights/").text


def test_a_tool_that_nobody_has_decided_about_has_no_times(house: House, client_of: ClientOf) -> None:
    house.open()
    page = client_of(house.cast.rita).get("/insights/").text
    assert "<td>none</td>" in page
    assert "Nobody has decided any yet." in page


def test_an_empty_tenant_says_what_will_be_here(house: House, client_of: ClientOf) -> None:
    assert "Nothing to tell yet" in client_of(house.cast.rita).get("/insights/").text


def test_a_scale_of_durations_is_logarithmic_and_holds_the_longest() -> None:
    end, marks = duration_scale(4000)
    assert (end, marks[-1].text) == (36_000, "10 h")
    assert place(0, end) == 0
    assert place(end, end) == place(end * 9, end) == 100
    assert place(60, end) < place(600, end) < place(6000, end)


def test_a_stacked_bar_is_whole() -> None:
    parts = stacked([("a", 1), ("b", 0), ("c", 3)], 4)
    assert [(part.name, part.at, part.size) for part in parts] == [("a", 0, 25), ("c", 25, 75)]
