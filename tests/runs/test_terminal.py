"""The command line for people who live in a terminal: the same people, the same checks, the same bound decisions."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.core.management import CommandError, call_command

from agents.models import Run
from agents.states import RunState
from approvals.models import ApprovalGate, Decision
from approvals.states import GateState
from routekit_site.tenancy import limits
from tests.fixtures.cast import PASSWORD
from tests.runs.conftest import Bench

WRITE = 'write_file {"path": "summary.txt", "text": "All is well."}'
POST = 'http_request {"url": "https://example.org/", "method": "POST"}'


@pytest.fixture
def manage(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a command as a person does who pipes the password in; what it printed."""

    def given(command: str, *arguments: str, person: str = "rita", password: str = PASSWORD) -> str:
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{password}\n"))
        out = io.StringIO()
        call_command(command, *arguments, "--as", person, "--password-stdin", stdout=out, stderr=out)
        return out.getvalue()

    return given


def shown(manage: Any, gate: ApprovalGate) -> tuple[str, str]:
    told = json.loads(manage("gates", str(gate.pk), "--json"))
    return told["digest"], told["view_digest"]


def test_a_job_is_submitted_approved_and_read_without_a_browser(bench: Bench, manage: Any) -> None:
    told = json.loads(manage("submit", WRITE, "--no-wait", "--json", person="alice"))
    run = bench.advance(Run.objects.get(pk=told["id"]))
    gate = bench.gate(run)

    (row,) = json.loads(manage("gates", "--json"))
    assert row["id"] == str(gate.pk)
    assert "All is well." in manage("gates", str(gate.pk)[:8])

    manage("approve", str(gate.pk), "--shown", *shown(manage, gate))
    run = bench.advance(run)
    assert run.state == RunState.SUCCEEDED
    assert "succeeded" in manage("runs", str(run.pk), person="alice")
    (line,) = json.loads(manage("runs", "--json", "--state", "succeeded"))
    assert line["id"] == str(run.pk)


def test_what_is_not_waited_for_is_told_by_its_id_alone(bench: Bench, manage: Any) -> None:  # noqa: ARG001 - the site
    told = manage("submit", WRITE, "--no-wait", person="alice")
    assert told == f"{Run.objects.get().pk}\n"
    assert str(Run.objects.get().pk) in manage("runs", told.strip(), "--json", person="alice")


def test_submitting_follows_the_run_to_its_end(bench: Bench, manage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # The command rings the bell; a worker would answer it while the command looks on.
    monkeypatch.setattr("agents.terminal.time.sleep", lambda _seconds: bench.advance(Run.objects.get()))
    told = manage("submit", 'calculator {"expression": "6 * 7"}', person="alice")
    assert "step 1: calculator succeeded" in told
    assert "42" in told


def test_a_run_that_fails_fails_the_command(bench: Bench, manage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.terminal.time.sleep", lambda _seconds: bench.cancel(Run.objects.get()))
    with pytest.raises(CommandError, match="The run ended as cancelled"):
        manage("submit", WRITE, person="alice")


def test_the_same_key_is_the_same_run(bench: Bench, manage: Any) -> None:
    first, second = (
        json.loads(manage("submit", WRITE, "--no-wait", "--json", "--key", "deploy-7", person="alice"))["id"]
        for _ in range(2)
    )
    assert first == second
    assert Run.objects.count() == 1
    assert len(bench.rung) == 1


def test_the_model_is_told_why_a_call_was_rejected(bench: Bench, manage: Any) -> None:
    run = bench.go(WRITE)
    gate = bench.gate(run)
    manage("reject", str(gate.pk), "--reason", "Wrong folder", "--shown", *shown(manage, gate))
    bench.advance(run)
    assert "Wrong folder" in bench.told(run)[0]
    assert not (bench.folder / "summary.txt").exists()


@pytest.mark.parametrize(
    ("person", "password", "complaint"),
    [
        ("rita", "guessed", "no active account"),
        ("nobody", PASSWORD, "no active account"),
        ("alice", PASSWORD, "does not allow this"),
        ("ravi", PASSWORD, "There is no such gate"),
        ("oscar", PASSWORD, "no such tenant"),
    ],
)
def test_who_may_not_decide_on_a_page_may_not_decide_here(
    bench: Bench, manage: Any, person: str, password: str, complaint: str
) -> None:
    gate = bench.gate(bench.go(WRITE))
    with pytest.raises(CommandError, match=complaint):
        manage("approve", str(gate.pk), "--shown", gate.digest, gate.view_digest, person=person, password=password)
    assert ApprovalGate.objects.get(pk=gate.pk).state == GateState.PENDING


def test_a_password_does_not_stand_in_for_a_second_step(bench: Bench, manage: Any) -> None:
    gate = bench.gate(bench.go(WRITE))
    Authenticator.objects.create(user=bench.cast.rita, type=Authenticator.Type.TOTP, data={})
    with pytest.raises(CommandError, match="second step"):
        manage("approve", str(gate.pk), "--shown", gate.digest, gate.view_digest)
    assert not Decision.objects.exists()


def test_an_answer_is_bound_to_what_was_shown(bench: Bench, manage: Any) -> None:
    gate = bench.gate(bench.go(WRITE))
    with pytest.raises(CommandError, match="does not show the call as it stands"):
        manage("approve", str(gate.pk), "--shown", gate.digest, "0" * 64)
    assert not Decision.objects.exists()


def test_nothing_is_approved_where_there_is_nobody_to_ask(bench: Bench, manage: Any) -> None:
    gate = bench.gate(bench.go(WRITE))
    with pytest.raises(CommandError, match="nobody to ask"):
        manage("approve", str(gate.pk))
    assert not Decision.objects.exists()


def test_a_call_of_high_risk_is_confirmed_by_name(bench: Bench, manage: Any) -> None:
    bench.agent.sandbox["network"] = {"allowed_hosts": ["example.org"]}
    bench.agent.save()
    gate = bench.gate(bench.go(POST))
    with pytest.raises(CommandError, match="--confirm http_request"):
        manage("approve", str(gate.pk), "--shown", *shown(manage, gate))
    manage("approve", str(gate.pk), "--confirm", "http_request", "--shown", *shown(manage, gate))
    assert ApprovalGate.objects.get(pk=gate.pk).state == GateState.APPROVED


def test_masked_values_stay_masked(bench: Bench, manage: Any) -> None:
    address = "mara.lind" + "@example.org"
    gate = bench.gate(bench.go(f'write_file {{"path": "to.txt", "text": "Write to {address}"}}'))
    told = manage("gates", str(gate.pk))
    assert address not in told
    assert "[redacted: email]" in told


def test_the_beginning_of_an_id_names_one_gate_only(bench: Bench, manage: Any) -> None:
    gate = bench.gate(bench.go(WRITE))
    for name in ("", "zzzz", str(gate.pk)[:3], "00000000-0000-0000-0000-000000000000"):
        with pytest.raises(CommandError, match=r"is named by its id|no such gate"):
            manage("gates", name or "-")


def test_a_terminal_counts_as_a_page_does(bench: Bench, manage: Any, settings: Any) -> None:
    cache.clear()
    limits._limiter.cache_clear()
    settings.ROUTEKIT_SUBMIT_RATE, settings.ROUTEKIT_DECIDE_RATE = "2 per minute", "1 per minute"
    for _ in range(2):
        manage("submit", WRITE, "--no-wait", person="alice")
    with pytest.raises(CommandError, match="came too often"):
        manage("submit", WRITE, "--no-wait", person="alice")
    gates = [bench.gate(bench.go(WRITE)) for _ in range(3)]
    manage("approve", str(gates[0].pk), "--shown", *shown(manage, gates[0]))
    with pytest.raises(CommandError, match="came too often"):
        manage("approve", str(gates[1].pk), "--shown", *shown(manage, gates[1]))
    assert ApprovalGate.objects.get(pk=gates[1].pk).state == GateState.PENDING
    # Refusing is never limited.
    for gate in gates[1:]:
        manage("reject", str(gate.pk), "--reason", "No.", "--shown", *shown(manage, gate))
