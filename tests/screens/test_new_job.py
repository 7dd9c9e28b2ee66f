"""The form for a new job: what it shows beforehand, what it refuses and in which words, one run for a double click."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from html import unescape

import pytest
from django.test import Client

from agents.models import Agent, Run
from routekit_site.tenancy.models import User
from tests.fixtures.cast import Cast
from tests.fixtures.gates import House

ClientOf = Callable[[User], Client]


def _form(to: Agent, /, prompt: str = "read notes.txt", **changes: str) -> dict[str, str]:
    return {"agent": str(to.pk), "prompt": prompt, "idempotency_key": uuid.uuid4().hex} | changes


def test_the_tools_are_shown_with_what_policy_says_of_them(client_of: ClientOf, cast: Cast, agent: Agent) -> None:
    page = client_of(cast.alice).get("/jobs/new/").text
    lines = re.findall(r'<span class="verdict \w+">(\w+)</span><code>(\w+)</code>', page)
    found = {tool: verdict for verdict, tool in lines}
    assert found["calculator"] == "allow"
    assert found["read_file"] == "ask"
    assert found["http_request"] == "deny"
    # Not on the allow-list at all.
    assert found["write_file"] == "deny"
    assert agent.name in page
    assert "none decided here in the last two weeks" in page


def test_it_says_how_long_approvals_take(client_of: ClientOf, house: House, agent: Agent) -> None:
    assert agent
    house.decide(house.open(), house.cast.rita, after=90)
    assert "half of them within 1 min 30 s" in client_of(house.cast.alice).get("/jobs/new/").text


def test_a_job_lands_on_its_run(client_of: ClientOf, cast: Cast, agent: Agent) -> None:
    client = client_of(cast.alice)
    answer = client.post("/jobs/new/", _form(agent))
    run = Run.objects.get()
    assert answer["Location"] == f"/runs/{run.pk}/"
    assert (run.submitter, run.agent, run.tenant) == (cast.alice, agent, cast.acme)


def test_a_double_click_is_one_run(client_of: ClientOf, cast: Cast, agent: Agent) -> None:
    client = client_of(cast.alice)
    sent = _form(agent)
    assert client.post("/jobs/new/", sent)["Location"] == client.post("/jobs/new/", sent)["Location"]
    assert Run.objects.count() == 1


def test_another_job_in_a_form_that_was_sent_is_refused_once_and_kept(
    client_of: ClientOf, cast: Cast, agent: Agent
) -> None:
    client = client_of(cast.alice)
    sent = _form(agent)
    client.post("/jobs/new/", sent)
    # Back in the browser, the prompt changed, sent again: the new words must not vanish behind the old run.
    answer = client.post("/jobs/new/", sent | {"prompt": "read other.txt"})
    assert answer.status_code == 422
    assert "sent before, with another job" in answer.text
    assert "read other.txt" in answer.text
    key = re.search(r'name="idempotency_key" value="(\w+)"', answer.text)
    assert key is not None
    assert client.post("/jobs/new/", sent | {"prompt": "read other.txt", "idempotency_key": key[1]}).status_code == 302
    assert Run.objects.count() == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": ""}, "Write what the agent should do."),
        ({"prompt": " \n\t "}, "Write what the agent should do."),
        ({"prompt": "é" * 1_000_001}, "The text has 1000001 characters; at most 1000000 are taken."),
        ({"agent": ""}, "Choose an agent."),
        ({"agent": "999999"}, "There is no such agent in this tenant."),
        ({"agent": "x"}, "There is no such agent in this tenant."),
        ({"idempotency_key": ""}, "key was missing"),
        ({"idempotency_key": "k" * 65}, "key was too long"),
    ],
)
def test_what_cannot_be_taken_is_said_at_the_field(
    client_of: ClientOf, cast: Cast, agent: Agent, changes: dict[str, str], words: str
) -> None:
    answer = client_of(cast.alice).post("/jobs/new/", _form(agent, **changes))
    assert answer.status_code == 422
    assert words in unescape(answer.text)
    assert not Run.objects.exists()


def test_what_was_typed_stays_in_the_form(client_of: ClientOf, cast: Cast, agent: Agent) -> None:
    page = client_of(cast.alice).post("/jobs/new/", _form(agent, "read <b>notes</b>\n\nthen stop", agent="")).text
    assert "read &lt;b&gt;notes&lt;/b&gt;\n\nthen stop</textarea>" in page.replace("\r\n", "\n")


def test_an_agent_that_is_switched_off_takes_no_job(client_of: ClientOf, cast: Cast, agent: Agent) -> None:
    Agent.objects.update(enabled=False)
    answer = client_of(cast.alice).post("/jobs/new/", _form(agent))
    assert answer.status_code == 422
    assert "This agent is switched off." in answer.text
    assert not Run.objects.exists()


def test_another_tenants_agent_does_not_exist(client_of: ClientOf, cast: Cast, agent: Agent) -> None:
    client = client_of(cast.carol)
    assert agent.name not in client.get("/jobs/new/").text
    answer = client.post("/jobs/new/", _form(agent))
    assert answer.status_code == 422
    assert not Run.objects.exists()


def test_an_agent_whose_stored_filter_is_broken_offers_nothing(client_of: ClientOf, cast: Cast, agent: Agent) -> None:
    Agent.objects.update(tool_filter={"no_such_field": 1})
    page = client_of(cast.alice).get("/jobs/new/")
    assert page.status_code == 200
    assert 'verdict allow">allow</span><code>' not in page.text
    assert agent.name in page.text
