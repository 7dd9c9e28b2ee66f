"""The official client against llmock, an OpenAI-compatible server by others, over real HTTP on a loopback port."""

from __future__ import annotations

import logging
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from llmock.scenarios import Fail, Reply, StreamFault, ToolCall, ToolFault
from llmock.testing import LLMockServer
from pydantic import SecretStr
from pytest_django import Settings

from agents.models import Agent, Run
from agents.states import CallState, RunState
from routekit_site.tenancy.clock import database_now
from tests.runs.conftest import Bench
from traces.models import TraceEvent

KEY = "key-" + secrets.token_hex(16)


@pytest.fixture(scope="module")
def server() -> Iterator[LLMockServer]:
    with LLMockServer() as running:
        yield running


@pytest.fixture
def model(
    bench: Bench, server: LLMockServer, settings: Settings, caplog: pytest.LogCaptureFixture
) -> Iterator[LLMockServer]:
    """The server with nothing queued, and an agent that asks it; the key must not be in any log or trace."""
    caplog.set_level(logging.DEBUG)
    server.state.scenarios.clear()
    settings.ROUTEKIT_OPENAI_API_KEY = SecretStr(KEY)
    settings.ROUTEKIT_OPENAI_BASE_URL = server.base_url("openai")
    Agent.objects.filter(pk=bench.agent.pk).update(provider="openai", model="gpt-4o-mini", instructions="Be brief.")
    yield server
    assert KEY not in caplog.text
    assert not [event for event in TraceEvent.objects.all() if KEY in str(event.payload)]


def again(bench: Bench, run: Run) -> Run:
    """Let the pause before the next try be over, and go on."""
    assert (run.state, run.leased_by) == (RunState.QUEUED, None)
    assert run.wake_at is not None
    Run.objects.filter(pk=run.pk).update(wake_at=database_now())
    return bench.advance(run)


def test_text(bench: Bench, model: LLMockServer) -> None:
    model.state.scenarios.add(Reply(text="Hello there."))
    run = bench.go("Say hello")
    assert (run.state, run.output_redacted) == (RunState.SUCCEEDED, "Hello there.")
    assert run.input_tokens > 0
    assert run.output_tokens > 0


def test_one_tool_call(bench: Bench, model: LLMockServer) -> None:
    model.state.scenarios.add(
        Reply(tool_calls=(ToolCall("calculator", {"expression": "6*7"}),)), Reply(text="It is 42.")
    )
    run = bench.go("What is 6*7?")
    assert (run.state, run.output_redacted, run.steps) == (RunState.SUCCEEDED, "It is 42.", 2)
    (call,) = bench.calls(run)
    assert call.result_redacted == {"result": "42"}


def test_parallel_tool_calls(bench: Bench, model: LLMockServer) -> None:
    model.state.scenarios.add(
        Reply(
            text="Working on it.",
            tool_calls=(
                ToolCall("calculator", {"expression": "1+1"}),
                ToolCall("write_file", {"path": "summary.txt", "text": "two"}),
                ToolCall("read_file", {"path": "notes.txt"}),
            ),
        ),
        Reply(text="All done."),
    )
    run = bench.go("Do three things")
    assert run.state == RunState.WAITING
    assert [call.state for call in bench.calls(run)] == [CallState.SUCCEEDED, CallState.GATED, CallState.SUCCEEDED]
    bench.decide(bench.gate(run))
    run = bench.advance(run)
    assert (run.state, run.output_redacted) == (RunState.SUCCEEDED, "All done.")
    assert (bench.folder / "summary.txt").read_text() == "two"


@pytest.mark.parametrize(
    ("fault", "told"), [("unknown_tool", "no tool called"), ("malformed_arguments", "not valid JSON")]
)
def test_a_broken_call_is_told_to_the_model(bench: Bench, model: LLMockServer, fault: str, told: str) -> None:
    model.state.scenarios.add(
        Reply(tool_calls=(ToolCall("calculator", {"expression": "6*7"}),)),
        ToolFault(fault),  # type: ignore[arg-type]
        Reply(text="I see."),
    )
    run = bench.go("Go")
    assert (run.state, run.output_redacted) == (RunState.SUCCEEDED, "I see.")
    (call,) = bench.calls(run)
    assert call.state == CallState.DENIED
    assert told in bench.told(run)[0]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("truncate", "ended before it was complete. It was tried 4 times."),
        ("disconnect", "connection broke while it answered. It was tried 4 times."),
        ("malformed", "a part of it was garbled. It was tried 4 times."),
    ],
)
def test_a_broken_stream_is_tried_again_and_then_fails(
    bench: Bench, model: LLMockServer, fault: str, message: str
) -> None:
    model.state.scenarios.add(StreamFault(fault, after_chunks=2, times=4))  # type: ignore[arg-type]
    run = bench.go("Go")
    for _ in range(3):
        run = again(bench, run)
    assert run.state == RunState.FAILED
    assert message in run.error_message
    assert bench.events(run).count("model.error") == 4
    assert bench.calls(run) == []


def test_a_stream_cut_inside_a_tool_call_proposes_nothing(bench: Bench, model: LLMockServer) -> None:
    model.state.scenarios.add(
        Reply(tool_calls=(ToolCall("calculator", {"expression": "6*7"}),)),
        StreamFault("truncate", after_chunks=3),
        Reply(text="Second try."),
    )
    run = bench.go("Go")
    assert bench.calls(run) == []
    run = again(bench, run)
    assert (run.state, run.output_redacted) == (RunState.SUCCEEDED, "Second try.")


def test_too_many_requests_then_success(bench: Bench, model: LLMockServer) -> None:
    model.state.scenarios.add(Fail(429, retry_after=7, times=2), Reply(text="Now."))
    before = database_now()
    run = bench.go("Go")
    assert run.wake_at is not None
    assert before + timedelta(seconds=7) <= run.wake_at <= database_now() + timedelta(seconds=7)
    run = again(bench, again(bench, run))
    assert (run.state, run.output_redacted, run.model_failures) == (RunState.SUCCEEDED, "Now.", 0)


@pytest.mark.parametrize(("status", "tries"), [(500, 4), (503, 4), (400, 1), (401, 1)])
def test_server_errors_are_tried_again_and_refusals_are_not(
    bench: Bench, model: LLMockServer, status: int, tries: int
) -> None:
    model.state.scenarios.add(Fail(status, times=4))
    run = bench.go("Go")
    for _ in range(tries - 1):
        run = again(bench, run)
    assert run.state == RunState.FAILED
    assert f"({status})" in run.error_message
    assert bench.events(run).count("model.error") == tries


def test_an_answer_cut_at_the_length_limit_is_no_success(bench: Bench, model: LLMockServer) -> None:
    model.state.scenarios.add(Reply(text="It begins", finish_reason="length"))
    run = bench.go("Go")
    assert (run.state, run.error_kind, run.output_redacted) == (RunState.FAILED, "answer_cut", "It begins")


def test_without_a_key_the_message_says_what_to_do(bench: Bench, model: LLMockServer, settings: Settings) -> None:
    assert model.url
    settings.ROUTEKIT_OPENAI_API_KEY = None
    run = bench.go("Go")
    assert (run.state, run.error_kind) == (RunState.FAILED, "model_not_configured")
    assert "OPENAI_API_KEY" in run.error_message


@contextmanager
def answering(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """A bare TCP server for what llmock can't do; gives its base URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1_000_000)
                handle(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        thread.join(timeout=40)
        assert not thread.is_alive()


def test_a_server_that_is_gone_or_speaks_nonsense(bench: Bench, model: LLMockServer, settings: Settings) -> None:
    assert model.url
    with answering(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH\r\n")) as url:
        settings.ROUTEKIT_OPENAI_BASE_URL = url
        run = bench.go("Go")
    assert run.state == RunState.QUEUED
    run = again(bench, run)
    assert run.state == RunState.QUEUED
    errors = TraceEvent.objects.filter(trace_id=run.pk, kind="model.error")
    assert {event.payload["kind"] for event in errors} == {"model_unreachable"}


def test_an_error_sent_inside_the_stream_is_an_error(bench: Bench, model: LLMockServer, settings: Settings) -> None:
    assert model.url
    body = b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    with answering(lambda connection: connection.sendall(head + body)) as url:
        settings.ROUTEKIT_OPENAI_BASE_URL = url
        run = bench.go("Go")
    assert run.state == RunState.QUEUED
    assert bench.events(run).count("model.error") == 1
