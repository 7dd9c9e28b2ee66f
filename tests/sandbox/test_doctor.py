"""`sandbox_doctor`: the report, for people and for programs."""

from __future__ import annotations

import json
from io import StringIO

from django.core.management import call_command

from agents.sandbox import probe


def test_for_programs() -> None:
    out = StringIO()
    call_command("sandbox_doctor", "--json", stdout=out)
    assert json.loads(out.getvalue()) == json.loads(json.dumps(probe().as_dict()))


def test_for_people() -> None:
    out = StringIO()
    call_command("sandbox_doctor", stdout=out)
    assert out.getvalue().startswith(f"Tier {probe().tier}: ")
    assert "landlock" in out.getvalue()
