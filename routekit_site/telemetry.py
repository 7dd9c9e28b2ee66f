"""Where the spans of our own code go: to the collector of `ROUTEKIT_OTLP_ENDPOINT`, or nowhere."""

from __future__ import annotations

import logging

from django.conf import settings
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

logger = logging.getLogger(__name__)

# A collector that is away must not hold up the end of a process.
_PATIENCE = 3  # seconds


def start(part: str) -> bool:
    """Begin to send this process's spans, as the service `routekit-<part>`; whether there is somewhere to send them."""
    endpoint = settings.ROUTEKIT_OTLP_ENDPOINT
    if not endpoint:
        return False
    provider = TracerProvider(resource=Resource({SERVICE_NAME: f"routekit-{part}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=_PATIENCE)))
    trace.set_tracer_provider(provider)
    logger.info("spans go to the collector")
    return True
