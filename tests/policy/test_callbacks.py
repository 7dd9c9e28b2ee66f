"""A callback counts only when it answers exactly, in time, about a call that it can't change."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.conf import LazySettings

from approvals.callbacks import answer, consulted
from approvals.effects import Reversibility, ToolPermission
from approvals.types import (
    AllowanceFacts,
    AllowanceMode,
    ApprovalGatePolicy,
    CallFacts,
    PolicyFacts,
    PolicyHooks,
)
from tests.policy import approval_callbacks

CALL = CallFacts(
    tool="http_request",
    arguments={"path": "notes.txt", "options": {"names": ["a"]}},
    permissions=frozenset({ToolPermission.NETWORK}),
    reversibility=Reversibility.READ_ONLY,
    agent_id="7",
)
MODULE = "tests.policy.approval_callbacks"


@pytest.fixture(autouse=True)
def named(settings: LazySettings) -> Iterator[None]:
    names = [name for name in vars(approval_callbacks) if name.islower()]
    settings.ROUTEKIT_APPROVAL_CALLBACKS = tuple(f"{MODULE}.{name}" for name in [*names, "gone"])
    yield
    approval_callbacks.RELEASE.set()
    approval_callbacks.SEEN.clear()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("approve", "approve"),
        ("deny", "deny"),
        ("deny_async", "deny"),
        ("refuse_async", "ask"),
        ("rejected", "ask"),
        ("true", "ask"),
        ("nothing", "ask"),
        ("sly", "ask"),
        ("broken", "ask"),
        ("leaving", "ask"),
        ("gone", "ask"),
        ("meddling", "ask"),
        ("meddling_deep", "ask"),
        ("reassigning", "ask"),
    ],
)
def test_anything_but_the_three_words_is_ask(name: str, said: str) -> None:
    before = repr(CALL)
    assert answer(f"{MODULE}.{name}", CALL, 10) == said
    assert repr(CALL) == before


@pytest.mark.parametrize("name", ["stuck", "stuck_async"])
def test_a_slow_callback_is_ask(name: str) -> None:
    approval_callbacks.RELEASE.clear()
    assert answer(f"{MODULE}.{name}", CALL, 0.05) == "ask"


def test_only_what_the_operator_named_is_ever_imported(settings: LazySettings) -> None:
    settings.ROUTEKIT_APPROVAL_CALLBACKS = ()
    assert answer(f"{MODULE}.approve", CALL, 10) == "ask"
    assert approval_callbacks.SEEN == []


def facts(mode: AllowanceMode = AllowanceMode.BY_PERMISSION, callback: str | None = f"{MODULE}.approve") -> PolicyFacts:
    return PolicyFacts(
        {"http_request": AllowanceFacts("http_request", mode)},
        PolicyHooks(approval_gate=ApprovalGatePolicy(approval_callback=callback)),
    )


def test_it_is_asked_about_gated_calls_that_policy_does_not_deny() -> None:
    assert consulted(CALL, facts()).callback_answer == "approve"
    unasked: list[tuple[CallFacts, PolicyFacts]] = [
        (CALL, facts(AllowanceMode.DENY)),
        (CALL, facts(callback=None)),
        (replace(CALL, permissions=frozenset({ToolPermission.DATABASE})), facts()),
    ]
    approval_callbacks.SEEN.clear()
    assert [consulted(call, policy).callback_answer for call, policy in unasked] == [None, None, None]
    assert approval_callbacks.SEEN == []


def test_it_is_given_a_copy_of_all_arguments() -> None:
    consulted(CALL, facts())
    (seen,) = approval_callbacks.SEEN
    arguments: Any = seen.arguments
    assert arguments == {"path": "notes.txt", "options": {"names": ("a",)}}
    assert seen.permissions == CALL.permissions


def test_a_process_that_can_start_no_thread_asks_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        assert {answer(f"{MODULE}.approve", CALL, 2.0) for _ in range(40)} == {"ask"}
    assert answer(f"{MODULE}.approve", CALL, 30.0) == "approve", "a place was lost for each that was not asked"
