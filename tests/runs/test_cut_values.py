"""What is cut is redacted before it is cut, and what a model makes up besides arguments is redacted like them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from agents.providers import PROVIDERS
from agents.providers.protocol import Completion, ModelRequest, ProposedCall
from agents.states import RunState
from tests.runs.conftest import Bench
from tests.runs.test_planted_values import stored


@dataclass
class Proposing:
    """A model that proposes the given calls, a reply each, and then ends; it keeps what it was sent."""

    replies: Sequence[tuple[ProposedCall, ...]]
    finish: str = "stop"
    sent: list[ModelRequest] = field(default_factory=list)

    def complete(self, request: ModelRequest, *, stop: object) -> Completion:
        assert stop
        self.sent.append(request)
        if len(self.sent) <= len(self.replies):
            return Completion("", self.replies[len(self.sent) - 1], "tool_calls", 1, 1)
        return Completion("Done.", (), self.finish, 1, 1)


def places_of(value: str) -> set[str]:
    """The columns that hold a value in clear."""
    return {place for place, text in stored() if value in text}


def call(tool: str, call_id: str = "call_1", **arguments: object) -> ProposedCall:
    return ProposedCall(call_id, tool, json.dumps(arguments))


def email() -> str:
    return f"{secrets.token_hex(4)}.person@mail.example.org"


def test_a_tool_or_a_call_is_not_named_by_a_value(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [email(), "ghp_" + secrets.token_hex(18), email(), "ghp_" + secrets.token_hex(18), email()]
    model = Proposing([tuple(call(tool, name) for tool, name in zip(values[:2], values[2:4], strict=True))], values[4])
    monkeypatch.setitem(PROVIDERS, "scripted", model)
    run = bench.go("Use what you need.")
    assert run.state in {RunState.SUCCEEDED, RunState.FAILED}
    assert [places_of(value) for value in values] == [set()] * len(values)
    names = [each.tool for each in bench.calls(run)]
    assert all(name.isidentifier() for name in names), names


def test_the_last_results_are_redacted_as_a_whole_and_cut_then(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    address, word = email(), "".join(secrets.choice("abcdefghij") for _ in range(9))
    # 500 characters of the result are shown with the next call; the address would be cut in two.
    at = 500 - len('{"text": "') - 12
    (bench.folder / "long.txt").write_text("x" * (at - 1) + " " + address + " and so on " * 40)
    (bench.folder / "keys.json").write_text(json.dumps({"password": f"{word}-{word}", "more": "y" * 900}))
    model = Proposing(
        [(call("read_file", path=name),) for name in ("long.txt", "keys.json")]
        + [(call("write_file", path="out.txt", text="new"),)]
    )
    monkeypatch.setitem(PROVIDERS, "scripted", model)
    run = bench.go("Read both, then write.")
    gate = bench.gate(run)
    details = json.dumps([step["detail"] for step in gate.presentation["steps"]])
    assert address[:12] not in details
    assert word not in details
    assert places_of(address[:12]) == places_of(word) == set()


@pytest.mark.parametrize("place", ["password", "query", "path"])
def test_a_sentence_is_redacted_as_a_whole_and_cut_then(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    value = secrets.token_hex(16)
    address = f"{value}@mail.example.org"
    proposed = {
        "password": call("http_request", url=f"http://bob:{value}{'y' * 300}@127.0.0.1:9/"),
        "query": call("http_request", url=f"http://127.0.0.1:9/?{'y' * 140}={address}&more={'z' * 100}"),
        "path": call("write_file", path=f"{'/'.join(['folder'] * 25)}/{address}/{'z' * 100}.txt", text="new"),
    }[place]
    monkeypatch.setitem(PROVIDERS, "scripted", Proposing([(proposed,)]))
    run = bench.go("Send it.")
    assert bench.gate(run).presentation["sentence"]["segments"]
    assert places_of(value[:12]) == set()


def test_what_is_told_of_the_present_file_is_redacted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    address = email()
    (bench.folder / address).mkdir()
    monkeypatch.setitem(PROVIDERS, "scripted", Proposing([(call("write_file", path=address, text="new"),)]))
    run = bench.go("Write it.")
    assert "file" in bench.gate(run).presentation
    assert places_of(address) == set()
