"""Filters over stored traces that the two databases express differently."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.postgres.search import SearchQuery, SearchVectorField
from django.db import connection, models
from django.db.models import Count, Func, Q, QuerySet, TextField
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Cast

from traces.kinds import EventKind
from traces.models import Trace, TraceEvent

MAX_TERM = 200
_RECENT_HEADS = 500
_RARE = 2_000
_RUN_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class _Words(Func):
    """The words of a payload: a column that PostgreSQL keeps by itself and that no model knows, beside `payload`.

    Computed for each row that a search looks at, they would cost 0.1 ms a row.
    """

    output_field = SearchVectorField()

    def as_postgresql(self, compiler: Any, _connection: Any) -> tuple[str, Any]:
        """The column of the same table, under whatever alias the query gives it."""
        payload, parameters = compiler.compile(self.source_expressions[0])
        return f'{payload.removesuffix(_PAYLOAD)}"words"', parameters


_PAYLOAD = '"payload"'


def _events_with(term: str) -> QuerySet[TraceEvent]:
    if connection.vendor == "postgresql":
        query = SearchQuery(term, config="simple", search_type="websearch")
        return TraceEvent.objects.annotate(found_in=_Words("payload")).filter(found_in=query)
    # SQLite keeps JSON as text in which letters beyond ASCII are escapes, and knows upper and lower case of ASCII only.
    spellings = {term, term.lower(), term.upper(), term.capitalize(), term.title()}
    found = Q()
    for spelling in {*spellings, *(json.dumps(each)[1:-1] for each in spellings)}:
        found |= Q(text__icontains=spelling)
    return TraceEvent.objects.annotate(text=Cast("payload", TextField())).filter(found)


def violations_since(moment: datetime) -> dict[str, int]:
    """How many violations of the sandbox were recorded since `moment`, by the tenants' slugs."""
    events = TraceEvent.objects.filter(kind=EventKind.VIOLATION, at__gt=moment).values("trace__tenant__slug")
    return {row["trace__tenant__slug"]: row["count"] for row in events.annotate(count=Count("id")).order_by()}


def matching(traces: QuerySet[Trace], term: str) -> QuerySet[Trace]:
    """The traces with an event that holds `term` (words on PostgreSQL, any part on SQLite) or is of that kind.

    The id of a run finds that run. Upper and lower case are the same. What is searched is what was stored: redacted.
    """
    term = term.strip()[:MAX_TERM].replace("\x00", "")
    if not term:
        return traces
    named = traces.filter(pk=term) if _RUN_ID.fullmatch(term) else traces.none()
    if named.exists():
        return named
    kind = term.lower()
    events = TraceEvent.objects.filter(kind=kind) if kind in set(EventKind) else _events_with(term)
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


@dataclass(frozen=True)
class Met:
    """What the newest traces met: the choices of the filters, each in order. Submitters are (id, username)."""

    states: tuple[str, ...]
    agents: tuple[str, ...]
    submitters: tuple[tuple[int, str], ...]
    tools: tuple[str, ...]
    decisions: tuple[str, ...]
    reviewers: tuple[str, ...]


def recently_met(traces: QuerySet[Trace]) -> Met:
    """What the newest traces met, by one statement; a bounded look, whatever the size of the table."""
    columns = ("state", "agent_name", "submitter_id", "submitter__username", "tools", "decisions", "reviewers")
    rows = list(traces.order_by("-started_at").values_list(*columns)[:_RECENT_HEADS])

    def listed(place: int) -> tuple[str, ...]:
        return tuple(sorted({str(value) for row in rows for value in row[place]}))

    return Met(
        states=tuple(sorted({row[0] for row in rows})),
        agents=tuple(sorted({row[1] for row in rows})),
        submitters=tuple(sorted({(row[2], row[3]) for row in rows}, key=lambda each: each[1])),
        tools=listed(4),
        decisions=listed(5),
        reviewers=listed(6),
    )


def duration() -> models.ExpressionWrapper[CombinedExpression]:
    """The time from submission to the end of a run."""
    return models.ExpressionWrapper(
        models.F("finished_at") - models.F("started_at"), output_field=models.DurationField()
    )
