"""The list of jobs and the page of one run."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.test import Client

from agents.models import ModelReply, Run, ToolCall
from routekit_site.tenancy.encryption import seal
from routekit_site.tenancy.models import User
from tests.fixtures.cast import Cast
from tests.fixtures.gates import House

ClientOf = Callable[[User], Client]
Submit = Callable[..., Run]


def _call(run: Run, now: datetime, **columns: object) -> ToolCall:
    """A tool call of the run's first step, with the reply that proposed it."""
    ModelReply.objects.create(
        run=run,
        step=1,
        text_sealed=seal("raw"),
        text_redacted="I read the notes for [redacted: email].",
        finish_reason="tool_calls",
        started_at=now,
        finished_at=now,
    )
    facts: dict[str, object] = {
        "run": run,
        "step": 1,
        "position": 0,
        "call_id": "c1",
        "tool": "read_file",
        "arguments_sealed": seal({"path": "notes.txt"}),
        "arguments_redacted": {"path": "notes.txt"},
        "arguments_digest": "0" * 64,
        "state": "succeeded",
    }
    return ToolCall.objects.create(**facts | columns)


def test_a_developer_lists_their_own_jobs_only(client_of: ClientOf, cast: Cast, submit: Submit) -> None:
    run = submit("count the ships")
    assert "count the ships" in client_of(cast.alice).get("/jobs/").text
    assert "count the ships" in client_of(cast.rita).get("/jobs/").text
    assert "No jobs yet" in client_of(cast.carol).get("/jobs/").text
    assert str(run.pk) not in client_of(cast.ravi).get("/jobs/").text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=SHIPS", True),
        ("q=boats", False),
        ("state=queued", True),
        ("state=failed", False),
        ("state=nonsense", True),
        ("agent=999", False),
        ("agent=%C2%B2", True),
        ("mine=1", False),
        ("page=1", False),
        ("page=x", True),
        ("q=%00", True),
    ],
)
def test_jobs_are_filtered(client_of: ClientOf, cast: Cast, submit: Submit, query: str, *, found: bool) -> None:
    submit("count the ships")
    page = client_of(cast.rita).get(f"/jobs/?{query}")
    assert page.status_code == 200
    assert ("count the ships" in page.text) is found


def test_older_jobs_are_a_page_away(
    client_of: ClientOf, cast: Cast, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.pages.PAGE", 1)
    older = submit("the older one")
    submit("the newer one")
    Run.objects.filter(pk=older.pk).update(created_at=older.created_at - timedelta(minutes=1))
    client = client_of(cast.alice)
    assert "the newer one" in client.get("/jobs/?state=queued").text
    assert 'href="?state=queued&amp;page=1"' in client.get("/jobs/?state=queued").text
    assert "the older one" in client.get("/jobs/?state=queued&page=1").text


def test_personal_data_of_a_prompt_is_shown_nowhere(client_of: ClientOf, cast: Cast, submit: Submit) -> None:
    run = submit("write to bob@example.com about it")
    client = client_of(cast.alice)
    for address in ("/jobs/", f"/runs/{run.pk}/", f"/runs/{run.pk}.json"):
        page = client.get(address).text
        assert "bob@example.com" not in page
        assert "about it" in page
    assert "[redacted: email]</span>" in client.get(f"/runs/{run.pk}/").text


def test_the_transcript_shows_replies_calls_and_results(
    client_of: ClientOf, cast: Cast, submit: Submit, now: datetime
) -> None:
    run = submit()
    _call(run, now, result_redacted={"text": "<b>42</b> ships"}, started_at=now, finished_at=now, tier="T1")
    Run.objects.filter(pk=run.pk).update(output_redacted="There are 42 ships.")
    page = client_of(cast.alice).get(f"/runs/{run.pk}/").text
    assert 'I read the notes for <span class="chip" title="redacted before it was stored">[redacted: email]' in page
    assert "&lt;b&gt;42&lt;/b&gt; ships" in page
    assert "There are 42 ships." in page
    assert "sandbox tier T1" in page
    told = client_of(cast.alice).get(f"/runs/{run.pk}.json").json()
    assert told["steps"][0]["calls"][0]["tool"] == "read_file"
    assert told["output"] == "There are 42 ships."


def test_arguments_that_are_no_object_are_shown_as_they_came(
    client_of: ClientOf, cast: Cast, submit: Submit, now: datetime
) -> None:
    run = submit()
    _call(run, now, arguments_redacted='{"zone": Mars}')
    page = client_of(cast.alice).get(f"/runs/{run.pk}/").text
    assert '<span class="gist">{&quot;zone&quot;: Mars}</span>' in page


def test_an_error_is_said_at_the_top(client_of: ClientOf, cast: Cast, submit: Submit, now: datetime) -> None:
    run = submit()
    told = {"error_kind": "model_busy", "error_message": "The model's server asked to slow down."}
    Run.objects.filter(pk=run.pk).update(state="failed", finished_at=now, **told)
    client = client_of(cast.alice)
    assert "The model&#x27;s server asked to slow down." in client.get(f"/runs/{run.pk}/").text
    assert client.get(f"/runs/{run.pk}.json").json()["error"]["kind"] == "model_busy"


def test_at_a_gate_it_says_who_can_approve_and_links_there(
    client_of: ClientOf, house: House, submit: Submit, now: datetime
) -> None:
    run = submit()
    gate = house.open({"path": "x.txt", "text": "x"}, run_id=run.pk).gate
    _call(run, now, gate=gate, state="gated", tool="write_file")
    Run.objects.filter(pk=run.pk).update(state="waiting", waiting_since=now)
    alice, rita = (client_of(who).get(f"/runs/{run.pk}/").text for who in (house.cast.alice, house.cast.rita))
    for page in (alice, rita):
        assert "characters to x.txt</b> waits for a reviewer or an admin, other than Alice Example" in page
        assert f'href="/queue/{gate.pk}/"' in page
    assert "Review it" in rita
    assert "See it" in alice
    # An auditor sees the run and not the queue.
    assert f"/queue/{gate.pk}/" not in client_of(house.cast.audra).get(f"/runs/{run.pk}/").text


def test_a_run_is_cancelled_once(client_of: ClientOf, cast: Cast, submit: Submit) -> None:
    run = submit()
    client = client_of(cast.alice)
    assert "Cancel the job" in client.get(f"/runs/{run.pk}/").text
    assert client.post(f"/runs/{run.pk}/cancel/")["Location"] == f"/runs/{run.pk}/"
    assert Run.objects.get().state == "cancelled"
    assert "Cancel the job" not in client.get(f"/runs/{run.pk}/").text
    again = client.post(f"/runs/{run.pk}/cancel/", headers={"accept": "application/json"})
    assert again.status_code == 409
    assert "already finished" in again.json()["error"]
    assert "already finished" in client.post(f"/runs/{run.pk}/cancel/", follow=True).text


def test_a_waiting_run_keeps_its_calls_apart(client_of: ClientOf, cast: Cast, submit: Submit, now: datetime) -> None:
    first, second = submit("one"), submit("two")
    _call(first, now, id=uuid.uuid4(), tool="only_in_the_first")
    assert "only_in_the_first" not in client_of(cast.alice).get(f"/runs/{second.pk}/").text
