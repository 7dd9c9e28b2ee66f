"""Spans of our own code: one for each request, run, model call and tool call, with ids and without content."""

from __future__ import annotations

import secrets

import pytest
from django.test import Client
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pytest_django import Settings

from routekit_site import telemetry
from routekit_site.tenancy import spans
from tests.runs.conftest import Bench, bench, rung

__all__ = ["bench", "rung"]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What a collector would be told."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(spans, "_tracer", provider.get_tracer("tests"))
    return exporter


def test_a_run_its_model_calls_and_its_tool_calls_are_spans(bench: Bench, told: InMemorySpanExporter) -> None:
    secret = secrets.token_hex(16)
    run = bench.go(f'calculator {{"expression": "1 + 1"}}\nread_file {{"path": "notes.txt"}}\n# {secret}')
    found = {span.name: span for span in told.get_finished_spans()}
    assert set(found) == {"run.advance", "model.call", "tool.run"}
    advance = found["run.advance"]
    for name in ("model.call", "tool.run"):
        parent, outer = found[name].parent, advance.context
        assert parent is not None
        assert outer is not None
        assert parent.span_id == outer.span_id
    assert dict(advance.attributes or {}) == {"routekit.run": str(run.pk)}
    assert not any(secret in span.to_json() for span in found.values())


@pytest.mark.django_db
def test_a_request_is_a_span_named_by_its_address(client: Client, told: InMemorySpanExporter) -> None:
    client.get("/healthz?q=typed")
    (span,) = told.get_finished_spans()
    assert span.name == "GET healthz"
    assert (span.attributes or {})["http.response.status_code"] == 200
    assert "typed" not in span.to_json()


def test_an_error_is_told_by_its_kind(told: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="the prompt"), spans.span("work", run="7f"):
        raise ValueError("the prompt")
    (span,) = told.get_finished_spans()
    assert span.status.description == "ValueError"
    assert "the prompt" not in span.to_json()


def test_without_a_collector_nothing_is_sent(settings: Settings) -> None:
    settings.ROUTEKIT_OTLP_ENDPOINT = ""
    assert telemetry.start("web") is False
