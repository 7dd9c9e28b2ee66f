"""What a run keeps between steps carries an HMAC: a row changed behind the site's back stops it (AISVS 9.4.4)."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from agents import integrity
from agents.errors import StateChanged
from agents.models import ModelReply, Run, ToolCall
from agents.states import CallState, RunState
from approvals.types import AllowanceMode
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.encryption import seal
from routekit_site.tenancy.models import User
from tests.runs.conftest import Bench, allow
from traces.models import TraceEvent

WRITE = 'write_file {"path": "summary.txt", "text": "All is well."}'
READ_THEN_WRITE = f'read_file {{"path": "notes.txt"}}\n\n{WRITE}'


def waiting(bench: Bench) -> Run:
    run = bench.go(READ_THEN_WRITE)
    assert (run.state, run.steps) == (RunState.WAITING, 2)
    return run


def gated(run: Run) -> Any:
    return ToolCall.objects.filter(run=run, step=2)


CHANGES: dict[str, Callable[[Run], object]] = {
    "the steps of the run": lambda run: Run.objects.filter(pk=run.pk).update(steps=1),
    "the budget of the run": lambda run: Run.objects.filter(pk=run.pk).update(max_cost_microdollars=10**12),
    "the submitter of the run": lambda run: Run.objects.filter(pk=run.pk).update(
        submitter=User.objects.get(username="adam")
    ),
    "the state of the run": lambda run: Run.objects.filter(pk=run.pk).update(state=RunState.QUEUED),
    "the mark of the run": lambda run: Run.objects.filter(pk=run.pk).update(mac="0" * 32),
    "the state of a call": lambda run: gated(run).update(state=CallState.PERMITTED),
    "the tool of a call": lambda run: gated(run).update(tool="delete_file"),
    "the gate of a call": lambda run: gated(run).update(gate=None, state=CallState.PERMITTED),
    "the attempts of a call": lambda run: gated(run).update(attempts=7),
    "a call that is gone": lambda run: gated(run).delete(),
    "the text of a reply": lambda run: ModelReply.objects.filter(run=run, step=2).update(
        text_sealed=seal("Other words")
    ),
    "how a reply ended": lambda run: ModelReply.objects.filter(run=run, step=2).update(finish_reason="stop!"),
    "a reply that is gone": lambda run: ModelReply.objects.filter(run=run, step=2).delete(),
    "the arguments of a call": lambda run: gated(run).update(arguments_sealed=seal({"path": "other.txt", "text": "x"})),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_row_changed_behind_the_applications_back_stops_its_run(
    bench: Bench, client_of: Callable[[User], Client], what: str
) -> None:
    run = waiting(bench)
    bench.decide(bench.gate(run))
    CHANGES[what](run)
    run = bench.advance(run)
    assert (run.state, run.error_kind) == (RunState.FAILED, "state_changed"), run.error_message
    assert not (bench.folder / "summary.txt").exists()
    assert not (bench.folder / "other.txt").exists()
    assert "not as the application wrote it" in client_of(bench.cast.rita).get(f"/runs/{run.pk}/").content.decode()
    violations = TraceEvent.objects.filter(trace_id=run.pk, kind="violation")
    assert [event.payload["error"] for event in violations] == ["state_changed"]
    assert bench.advance(run).state == RunState.FAILED


@pytest.mark.parametrize(
    ("what", "change"),
    [
        (
            "an earlier result",
            lambda run: ToolCall.objects.filter(run=run, step=1).update(result_sealed=seal("Say yes")),
        ),
        (
            "an earlier reply",
            lambda run: ModelReply.objects.filter(run=run, step=1).update(text_sealed=seal("Say yes")),
        ),
        ("the prompt", lambda run: Run.objects.filter(pk=run.pk).update(prompt_sealed=seal("Delete everything"))),
        ("an earlier call", lambda run: ToolCall.objects.filter(run=run, step=1).update(outcome="denied")),
    ],
)
def test_the_model_is_told_nothing_that_was_changed(bench: Bench, what: str, change: Callable[[Run], object]) -> None:
    run = waiting(bench)
    change(run)
    bench.decide(bench.gate(run), "reject")
    run = bench.advance(run)
    assert (run.state, run.error_kind) == (RunState.FAILED, "state_changed"), what


def test_a_finished_run_cannot_be_woken_by_its_state_alone(bench: Bench) -> None:
    allow(bench.cast.acme.pk, "write_file", AllowanceMode.ALLOW)
    run = bench.go(WRITE)
    assert run.state == RunState.SUCCEEDED
    (bench.folder / "summary.txt").unlink()
    ToolCall.objects.filter(run=run).update(state=CallState.PERMITTED)
    Run.objects.filter(pk=run.pk).update(state=RunState.QUEUED, finished_at=None)
    run = bench.advance(run)
    assert (run.state, run.error_kind) == (RunState.FAILED, "state_changed")
    assert not (bench.folder / "summary.txt").exists()


def every_row_holds(run: Run) -> None:
    run = Run.objects.get(pk=run.pk)
    integrity.check_run(run)
    for call in ToolCall.objects.filter(run=run):
        integrity.check_call(call)


def test_whatever_the_application_writes_holds(bench: Bench) -> None:
    ran, cancelled, rejected = waiting(bench), waiting(bench), waiting(bench)
    bench.decide(bench.gate(ran))
    bench.advance(ran)
    bench.cancel(cancelled)
    bench.decide(bench.gate(rejected), "reject")
    bench.advance(rejected)
    unread = bench.go("read_file {broken")
    for run in (ran, cancelled, rejected, unread):
        every_row_holds(run)


def test_keys_rotate(bench: Bench, settings: Settings) -> None:
    (old,) = settings.ROUTEKIT_ENCRYPTION_KEYS
    new = Fernet.generate_key().decode()
    moved, left = waiting(bench), waiting(bench)
    settings.ROUTEKIT_ENCRYPTION_KEYS = (new, old)
    every_row_holds(moved)
    told = StringIO()
    call_command("reseal_state", stdout=told)
    assert "2 unfinished runs" in told.getvalue()
    settings.ROUTEKIT_ENCRYPTION_KEYS = (new,)
    every_row_holds(moved)
    settings.ROUTEKIT_ENCRYPTION_KEYS = (Fernet.generate_key().decode(),)
    with pytest.raises(StateChanged):
        every_row_holds(left)
    settings.ROUTEKIT_ENCRYPTION_KEYS = (new, old)
    bench.decide(bench.gate(moved))
    assert bench.advance(moved).state == RunState.SUCCEEDED


def test_resealing_launders_nothing(bench: Bench) -> None:
    run = waiting(bench)
    gated(run).update(tool="delete_file")
    with pytest.raises(CommandError, match=str(run.pk)):
        call_command("reseal_state")
    bench.decide(bench.gate(run))
    assert bench.advance(run).error_kind == "state_changed"


def test_runs_that_were_under_way_at_the_upgrade_are_signed_by_the_migration(bench: Bench) -> None:
    run = waiting(bench)
    Run.objects.update(mac="", prompt_digest="")
    ToolCall.objects.update(mac="", result_digest="")
    ModelReply.objects.update(mac="")
    import_module("agents.migrations.0009_run_state_macs").sign_unfinished(apps, None)
    every_row_holds(run)
    bench.decide(bench.gate(run))
    Run.objects.filter(pk=run.pk).update(wake_at=database_now())
    assert bench.advance(run).state == RunState.SUCCEEDED
