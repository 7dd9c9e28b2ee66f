"""Replay: recorded replies and results, today's engine and policy, every difference listed, and no effect at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client

from agents import replay, tasks
from agents.errors import NothingRecorded, ReplayImpossible
from agents.models import Agent, LiveReplay, ModelReply, Run, ToolCall
from agents.providers import PROVIDERS
from agents.providers.protocol import AssistantMessage, Completion, ModelRequest, ProposedCall, ToolMessage
from agents.replay import Report, live
from agents.runs import lease
from agents.states import RunState
from approvals.manifests import all_manifests
from approvals.models import ToolAllowance
from approvals.types import AllowanceMode
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.encryption import FORGOTTEN
from routekit_site.tenancy.models import User
from tests.runs.conftest import Bench, allow
from traces import recorder
from traces.kinds import LedgerKind
from traces.models import LedgerEntry, TraceEvent

ClientOf = Callable[[User], Client]
JOB = 'read_file {"path": "notes.txt"}\nthen\nwrite_file {"path": "summary.txt", "text": "Monday", "overwrite": true}'


def replayed(run: Run, *, live: bool = False) -> Report:
    fresh = Run.objects.select_related("agent", "submitter").get(pk=run.pk)
    return replay.replay(fresh, now=database_now(), live=live)


def forbid(tool: str) -> None:
    """Take a tool off the allow-list."""
    ToolAllowance.objects.filter(tool=tool).delete()


def kinds(report: Report) -> list[tuple[str, int]]:
    return [(each.kind, each.position) for each in report.divergences]


def everything() -> dict[str, list[Any]]:
    """Every row of the house."""
    return {
        model._meta.label: sorted(map(repr, model._default_manager.values_list()))
        for model in apps.get_models()
        if model._meta.app_label in {"agents", "approvals", "traces", "tenancy"}
    }


def test_a_run_that_is_replayed_under_the_same_rules_is_repeated_without_any_effect(bench: Bench) -> None:
    run = bench.approve_all(bench.submit(JOB))
    assert run.state == RunState.SUCCEEDED, run.error_message
    (bench.folder / "summary.txt").write_text("changed since")
    before, rung = everything(), list(bench.rung)
    report = replayed(run)
    assert (report.divergences, report.notes) == ((), ())
    assert (report.steps, report.calls, report.end) == (3, 2, "succeeded")
    assert everything() == before
    assert bench.rung == rung
    assert (bench.folder / "summary.txt").read_text() == "changed since"


def test_todays_verdicts_are_compared_each_with_its_reason(bench: Bench) -> None:
    run = bench.approve_all(bench.submit(JOB))
    forbid("write_file")
    allow(bench.cast.acme.pk, "read_file", AllowanceMode.ASK)
    report = replayed(run)
    assert kinds(report) == [("verdict", 1), ("verdict", 2)]
    first, second = report.divergences
    assert first.before.startswith("allow")
    assert first.after.startswith("needs approval")
    assert second.after.startswith("deny (")


def test_a_rejected_run_replays(bench: Bench) -> None:
    run = bench.go('write_file {"path": "summary.txt", "text": "no"}')
    bench.decide(bench.gate(run), "reject", "Not now.")
    run = bench.advance(run)
    report = replayed(run)
    assert (report.divergences, report.calls) == ((), 1)


def test_a_call_proposed_again_after_its_rejection_replays_as_refused_for_that(bench: Bench) -> None:
    write = 'write_file {"path": "summary.txt", "text": "no"}'
    run = bench.go(f"{write}\nthen\n{write}")
    bench.decide(bench.gate(run), "reject", "Not now.")
    run = bench.advance(run)
    assert [call.outcome for call in bench.calls(run)] == ["rejected", "rejected_before"]
    assert replayed(run).divergences == ()


def test_a_cancelled_run_replays(bench: Bench) -> None:
    run = bench.cancel(bench.go(JOB))
    run = bench.advance(run)
    assert run.state == RunState.CANCELLED
    report = replayed(run)
    assert (report.divergences, report.end) == ((), "cancelled")


def test_a_run_that_timed_out_at_once_replays(bench: Bench) -> None:
    Agent.objects.update(time_limit_seconds=0)
    run = bench.go(JOB)
    assert run.state == RunState.TIMED_OUT
    report = replayed(run)
    assert (report.divergences, report.steps, report.end) == ((), 0, "timed out: time budget")


def test_a_run_whose_time_ended_amid_its_work_replays_to_the_same_place(bench: Bench) -> None:
    run = bench.go(JOB)
    assert run.state == RunState.WAITING
    lease.set_held(run, worked_milliseconds=run.time_limit_seconds * 1000)
    bench.decide(bench.gate(run))
    run = bench.advance(run)
    assert (run.state, run.error_kind) == (RunState.TIMED_OUT, "time_budget")
    before = everything()
    report = replayed(run)
    assert (report.divergences, report.notes) == ((), ())
    assert (report.steps, report.calls, report.end) == (2, 2, "timed out: time budget")
    assert everything() == before
    out = StringIO()
    call_command("replay", str(run.pk), stdout=out)
    assert "timed out: time budget" in out.getvalue()


def test_a_failed_run_replays_and_a_raised_budget_is_a_difference(bench: Bench) -> None:
    Agent.objects.update(max_steps=1)
    run = bench.approve_all(bench.submit(JOB))
    assert (run.state, run.error_kind) == (RunState.FAILED, "step_budget")
    assert replayed(run).divergences == ()
    Run.objects.filter(pk=run.pk).update(max_steps=9)
    # The budget that the run had is the run's own: raised behind its back, today's engine would go on.
    assert replayed(run).end == "failed: step budget"
    ModelReply.objects.filter(run=run).update(input_tokens=10**6)
    (end,) = replayed(run).divergences
    assert (end.kind, end.before, end.after) == ("end", "failed: step budget", "failed: token budget")


def test_an_invalid_call_and_an_unknown_tool_replay(bench: Bench) -> None:
    run = bench.approve_all(bench.submit('read_file {"path": \nthen\nteleport {"to": "x"}\nthen\nread_file {"way": 1}'))
    report = replayed(run)
    assert report.calls == 3
    assert report.divergences == ()


def test_a_tool_that_is_gone_is_said_plainly(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run = bench.approve_all(bench.submit('calculator {"expression": "1 + 1"}'))
    left = {each.name: each for each in all_manifests() if each.name != "calculator"}
    monkeypatch.setattr("approvals.manifests._MANIFESTS", left)
    report = replayed(run)
    assert kinds(report) == [("verdict", 1)]
    assert report.divergences[0].after.startswith("unknown tool")
    assert 'The tool "calculator" is not installed here any more.' in report.notes[0]


def test_an_agent_that_changed_or_is_switched_off_is_said(bench: Bench) -> None:
    run = bench.approve_all(bench.submit(JOB))
    Agent.objects.update(enabled=False, version=7)
    notes = " ".join(replayed(run).notes)
    assert "now it is 7" in notes
    assert "switched off" in notes
    Agent.objects.update(tool_filter={"denied_tools": 7})
    with pytest.raises(ReplayImpossible, match="not valid any more"):
        replayed(run)


def test_edited_arguments_are_compared_as_the_model_proposed_them(bench: Bench) -> None:
    run = bench.approve_all(bench.submit(JOB))
    call = ToolCall.objects.get(run=run, tool="write_file")
    ToolCall.objects.filter(pk=call.pk).update(
        proposed_sealed=call.arguments_sealed, edited_at=database_now(), edited_by=bench.cast.rita
    )
    assert replayed(run).divergences == ()


def test_without_raw_values_the_redacted_copies_are_used_and_it_is_said(bench: Bench) -> None:
    run = bench.approve_all(bench.submit(JOB))
    Run.objects.filter(pk=run.pk).update(prompt_sealed=FORGOTTEN)
    ModelReply.objects.filter(run=run).update(text_sealed=FORGOTTEN)
    ToolCall.objects.filter(run=run).update(arguments_sealed=FORGOTTEN, result_sealed=FORGOTTEN)
    report = replayed(run)
    assert report.divergences == ()
    assert "Raw values of this run are gone" in report.notes[0]


def test_a_trace_that_was_deleted_or_a_run_that_goes_on_is_said(bench: Bench) -> None:
    run = bench.go(JOB)
    with pytest.raises(ReplayImpossible, match="still goes on"):
        replayed(run)
    run = bench.approve_all(run)
    TraceEvent.objects.filter(trace_id=run.id).delete()
    with pytest.raises(NothingRecorded):
        replayed(run)


class Model:
    """A model that answers what it is told to, and remembers what it was asked."""

    def __init__(self, *answers: tuple[ProposedCall, ...]) -> None:
        self.answers = list(answers)
        self.asked: list[ModelRequest] = []

    def complete(self, request: ModelRequest, *, stop: Callable[[], bool]) -> Completion:
        assert not stop()
        self.asked.append(request)
        calls = self.answers.pop(0) if self.answers else ()
        return Completion("" if calls else "Done.", calls, "tool_calls" if calls else "stop", 10, 5)


def proposed(tool: str, **arguments: Any) -> ProposedCall:
    return ProposedCall(f"call_{tool}", tool, json.dumps(arguments))


def test_a_live_replay_asks_the_model_and_feeds_recorded_results(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run = bench.approve_all(bench.submit(JOB))
    (bench.folder / "summary.txt").write_text("changed since")
    model = Model(
        (proposed("read_file", path="notes.txt"),),
        (proposed("write_file", path="summary.txt", text="Monday", overwrite=True),),
    )
    monkeypatch.setitem(PROVIDERS, "scripted", model)
    report = replayed(run, live=True)
    assert kinds(report) == [("output", 0)]
    assert (report.input_tokens, report.output_tokens) == (30, 15)
    told = [message for message in model.asked[1].messages if isinstance(message, ToolMessage)]
    assert "The meeting is on Monday." in told[0].text
    assert (bench.folder / "summary.txt").read_text() == "changed since"


def test_a_live_model_that_does_something_else_is_told_so_and_listed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench.approve_all(bench.submit(JOB))
    model = Model(
        (proposed("read_file", path="notes.txt"), proposed("read_file", path="other.txt")),
        (proposed("delete_file", path="notes.txt"),),
    )
    monkeypatch.setitem(PROVIDERS, "scripted", model)
    report = replayed(run, live=True)
    assert ("end", 0) in kinds(report)
    assert {kind for kind, _ in kinds(report)} >= {"added", "missing"} or ("tool", 2) in kinds(report)
    assert "no result is recorded" in " ".join(report.notes)
    assert (bench.folder / "notes.txt").exists()
    second = [message for message in model.asked[1].messages if isinstance(message, ToolMessage)]
    assert [message.ran for message in second] == [True, False]
    assert isinstance(model.asked[1].messages[1], AssistantMessage)


def test_a_value_that_a_live_model_names_a_tool_by_is_not_stored(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run = bench.approve_all(bench.submit(JOB))
    monkeypatch.setitem(PROVIDERS, "scripted", Model((proposed("anna.person@example.org", path="notes.txt"),)))
    with transaction.atomic():
        row = live.request(run, bench.cast.adam, now=database_now())
    live.perform(row.id)
    row.refresh_from_db()
    assert "anna.person" not in json.dumps(row.report)
    assert "[EMAIL]" in json.dumps(row.report)


def test_a_live_replay_of_an_agent_whose_provider_is_gone_is_said(bench: Bench) -> None:
    run = bench.approve_all(bench.submit(JOB))
    Agent.objects.update(provider="babbage")
    with pytest.raises(ReplayImpossible, match="no model provider"):
        replayed(run, live=True)


def test_a_halted_agents_model_is_not_asked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run = bench.approve_all(bench.submit(JOB))
    model = Model()
    monkeypatch.setitem(PROVIDERS, "scripted", model)
    monkeypatch.setattr("agents.replay.playing.standing_for", lambda tenant, agent: (tenant, agent))
    with pytest.raises(ReplayImpossible, match="kill switch"):
        replayed(run, live=True)
    assert model.asked == []
    assert replayed(run).divergences == ()


def test_who_may_replay(bench: Bench, client_of: ClientOf) -> None:
    run, cast = bench.approve_all(bench.submit(JOB)), bench.cast
    codes = {
        person.username: client_of(person).get(f"/runs/{run.id}/replay/").status_code
        for person in (cast.alice, cast.adam, cast.audra, cast.rita, cast.carol, cast.ada, cast.oscar)
    }
    assert codes == {"alice": 200, "adam": 200, "audra": 200, "rita": 403, "carol": 404, "ada": 404, "oscar": 404}
    live = {
        person.username: client_of(person).post(f"/runs/{run.id}/replay/live/").status_code
        for person in (cast.alice, cast.adam, cast.audra, cast.rita, cast.carol)
    }
    assert live == {"alice": 302, "adam": 302, "audra": 403, "rita": 403, "carol": 404}
    assert LedgerEntry.objects.filter(kind=LedgerKind.REPLAY).count() == LiveReplay.objects.count() == 2
    assert Client().get(f"/runs/{run.id}/replay/").status_code == 302
    assert client_of(cast.alice).get(f"/runs/{run.id}/replay/live/").status_code == 405
    assert "Replay this run" in client_of(cast.alice).get(f"/runs/{run.id}/").content.decode()
    assert "Replay this run" not in client_of(cast.rita).get(f"/runs/{run.id}/").content.decode()
    assert (
        f"/runs/{run.id}/replay/" in client_of(cast.adam).get(f"/admin/traces/trace/{run.id}/change/").content.decode()
    )


def test_the_page_lists_differences_redacted_and_live_replays_with_their_reports(
    bench: Bench, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 'write_file {"path": "a.txt", "text": "ask jo.doe@example.org"}'
    run = bench.approve_all(bench.submit(written))
    forbid("write_file")
    client = client_of(bench.cast.alice)
    page = client.get(f"/runs/{run.id}/replay/").content.decode()
    assert "1 difference" in page
    client.post(f"/runs/{run.id}/replay/live/")
    assert "Waits for a worker." in client.get(f"/runs/{run.id}/replay/").content.decode()
    model = Model((proposed("write_file", path="a.txt", text="ask jim.doe@example.org"),))
    monkeypatch.setitem(PROVIDERS, "scripted", model)
    row = LiveReplay.objects.get()
    tasks.replay_live(replay_id=str(row.id))
    tasks.replay_live(replay_id=str(row.id))
    assert len(model.asked) == 1
    page = client.get(f"/runs/{run.id}/replay/").content.decode()
    assert "arguments" in page
    assert "doe@example.org" not in page + repr(LiveReplay.objects.values())


def test_a_live_replay_whose_bell_was_lost_is_rung_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run = bench.approve_all(bench.submit(JOB))
    bells: list[str] = []
    monkeypatch.setattr("agents.queue._publish_replay", bells.append)
    with transaction.atomic():
        row = replay.request(run, bench.cast.alice, now=database_now())
    now = database_now()
    assert replay.ring_again(now) == 0
    assert replay.ring_again(now + 2 * replay.live.RING_AGAIN_AFTER) == 1
    assert bells == [str(row.id)] * 2
    tasks.replay_live(replay_id="nonsense")
    replay.perform(row.id)
    assert replay.ring_again(now + 9 * replay.live.RING_AGAIN_AFTER) == 0


def test_a_live_replay_ends_with_the_right_to_it(bench: Bench) -> None:
    run = bench.approve_all(bench.submit(JOB))
    with transaction.atomic():
        row = replay.request(run, bench.cast.alice, now=database_now())
    User.objects.filter(pk=bench.cast.alice.pk).update(is_active=False)
    bench.cast.alice.memberships.all().delete()
    replay.perform(row.id)
    row.refresh_from_db()
    assert row.report is None
    assert row.problem


def test_a_trace_without_its_run_says_that_nothing_can_be_replayed(bench: Bench, client_of: ClientOf) -> None:
    gone = uuid4()
    with transaction.atomic():
        recorder.open_trace(
            tenant_id=bench.cast.acme.pk,
            run_id=gone,
            agent_name="Files",
            submitter_id=bench.cast.alice.pk,
            prompt="x",
            now=database_now(),
        )
    page = client_of(bench.cast.adam).get(f"/runs/{gone}/replay/")
    assert page.status_code == 410
    assert "nothing is left" in page.content.decode()
    assert client_of(bench.cast.ada).get(f"/runs/{gone}/replay/").status_code == 404
    assert client_of(bench.cast.adam).get(f"/runs/{uuid4()}/replay/").status_code == 404
    with pytest.raises(CommandError, match="is gone"):
        call_command("replay", str(gone))


def test_the_command_lists_differences_and_fails_when_there_are_some(bench: Bench) -> None:
    run = bench.approve_all(bench.submit(JOB))
    out = StringIO()
    call_command("replay", str(run.id), stdout=out)
    assert "The replay repeated the run: 2 calls in 3 steps, succeeded." in out.getvalue()
    call_command("replay", str(run.id), live=True, stdout=StringIO())
    assert LedgerEntry.objects.filter(kind=LedgerKind.REPLAY, actor="manage.py").count() == 1
    forbid("write_file")
    out = StringIO()
    with pytest.raises(CommandError, match="1 difference; 2 calls in 3 steps"):
        call_command("replay", str(run.id), stdout=out)
    assert out.getvalue().startswith("call 2, verdict: needs approval")
    with pytest.raises(CommandError, match="no such run"):
        call_command("replay", str(uuid4()))
