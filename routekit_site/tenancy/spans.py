"""Spans of our own code (OpenTelemetry): what took how long, named by ids, without a word that somebody wrote.

They lead nowhere until `routekit_site.telemetry` is told where to send them, and cost some microseconds then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode

_tracer = trace.get_tracer("routekit_site")


@contextmanager
def span(name: str, **ids: str | int) -> Iterator[Span]:
    """A span around what is done inside; an error marks it by its kind, since its text could hold what was given."""
    attributes = {f"routekit.{key}": value for key, value in ids.items()}
    with _tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except Exception as error:
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
