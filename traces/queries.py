"""Filters over stored traces that the two databases express differently."""

from __future__ import annotations

import json
from datetime import datetime

from django.contrib.postgres.search import SearchQuery, SearchVectorField
from django.db import connection, models
from django.db.models import Count, Func, Q, QuerySet, TextField
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Cast

from traces.kinds import EventKind
from traces.models import Trace, TraceEvent

MAX_TERM = 200
_RECENT_HEADS = 500
_RARE = 10_000


class _Words(Func):
    """The words of a payload as PostgreSQL's index `trace_event_words` holds them."""

    template = 'jsonb_to_tsvector(\'simple\', %(expressions)s, \'["string", "numeric", "key"]\')'
    output_field = SearchVectorField()


def _events_with(term: str) -> QuerySet[TraceEvent]:
    if connection.vendor == "postgresql":
        query = SearchQuery(term, config="simple", search_type="websearch")
        return TraceEvent.objects.annotate(words=_Words("payload")).filter(words=query)
    # SQLite keeps JSON as text in which letters beyond ASCII are written as escapes.
    escaped = json.dumps(term)[1:-1]
    return TraceEvent.objects.annotate(text=Cast("payload", TextField())).filter(
        Q(text__icontains=term) | Q(text__icontains=escaped)
    )


def violations_since(moment: datetime) -> dict[str, int]:
    """How many violations of the sandbox were recorded since `moment`, by the tenants' slugs."""
    events = TraceEvent.objects.filter(kind=EventKind.VIOLATION, at__gt=moment).values("trace__tenant__slug")
    return {row["trace__tenant__slug"]: row["count"] for row in events.annotate(count=Count("id")).order_by()}


def matching(traces: QuerySet[Trace], term: str) -> QuerySet[Trace]:
    """The traces with an event that holds `term` (words on PostgreSQL, any part on SQLite) or is of that kind.

    Upper and lower case are the same. What is searched is what was stored: redacted text.
    """
    term = term.strip()[:MAX_TERM].replace("\x00", "")
    if not term:
        return traces
    events = TraceEvent.objects.filter(kind=term) if term in set(EventKind) else _events_with(term)
    found = events.values_list("trace_id", flat=True)
    if connection.vendor == "postgresql":
        # For a rare word PostgreSQL would walk all traces by date instead of asking its index of words (2 s for 200,000
        # events, measured); for a common one that walk is right, and ends after a page.
        hits = list(found[:_RARE])
        if len(hits) < _RARE:
            return traces.filter(pk__in=set(hits))
    return traces.filter(pk__in=found)


def having(traces: QuerySet[Trace], field: str, value: str) -> QuerySet[Trace]:
    """The traces whose list `field` (tools, decisions, reviewers) holds `value`."""
    if connection.vendor == "postgresql":
        return traces.filter(**{f"{field}__contains": [value]})
    quoted = json.dumps(value)
    return traces.annotate(**{f"{field}_text": Cast(field, TextField())}).filter(**{f"{field}_text__contains": quoted})


def values_met(traces: QuerySet[Trace], field: str) -> list[str]:
    """What the list `field` holds in the newest traces; a bounded look, whatever the size of the table."""
    recent = traces.order_by("-started_at").values_list(field, flat=True)[:_RECENT_HEADS]
    return sorted({str(value) for values in recent for value in values})


def recent_values(traces: QuerySet[Trace], *fields: str) -> list[tuple[object, ...]]:
    """Distinct values of columns in the newest traces, in order; bounded likewise."""
    recent = traces.order_by("-started_at").values_list(*fields)[:_RECENT_HEADS]
    return sorted({tuple(values) for values in recent}, key=str)


def duration() -> models.ExpressionWrapper[CombinedExpression]:
    """The time from submission to the end of a run."""
    return models.ExpressionWrapper(
        models.F("finished_at") - models.F("started_at"), output_field=models.DurationField()
    )
