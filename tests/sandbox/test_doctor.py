"""`sandbox_doctor`: the report, for people and for programs."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import call_command

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
