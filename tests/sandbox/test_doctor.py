"""`sandbox_doctor`: the report, for people and for programs."""

from __future__ import annotations

import json
import os
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from agents import receivers
from agents.sandbox import SandboxUnavailableError, probe, probing


def test_for_programs() -> None:
    out = StringIO()
    call_command("sandbox_doctor", "--json", stdout=out)
    assert json.loads(out.getvalue()) == json.loads(json.dumps(probe().as_dict()))


def test_for_people() -> None:
    out = StringIO()
    call_command("sandbox_doctor", stdout=out)
    assert out.getvalue().startswith(f"Tier {probe().tier}: ")
    assert "landlock" in out.getvalue()


def test_a_machine_that_does_not_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    known = probe()
    with monkeypatch.context() as patch:
        patch.setattr(probing, "_TIMEOUT", 0.001)
        with pytest.raises(SandboxUnavailableError, match="could not be found out"):
            probe(fresh=True)
    assert probe() == known


def test_a_machine_whose_probe_was_killed_is_asked_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = probe()
    killed = tmp_path / "python"
    killed.write_text("#!/bin/sh\nkill -9 $$\n", encoding="utf-8")
    killed.chmod(0o700)
    with monkeypatch.context() as patch:
        for python in (str(killed), str(tmp_path / "none")):
            patch.setattr(probing, "python", lambda python=python: python)
            with pytest.raises(SandboxUnavailableError, match="could not be found out"):
                probe(fresh=True)
    assert probe() == known


def test_what_a_worker_finds_out_before_it_forks_its_processes_need_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    known = probe()
    monkeypatch.setattr(probing._known, "report", None)
    receivers.on_worker_start()
    monkeypatch.setattr(probing, "python", lambda: "/nonexistent/python")
    child = os.fork()
    if child == 0:
        os._exit(0 if probe() == known else 1)
    assert os.waitpid(child, 0)[1] == 0
