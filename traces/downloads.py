"""An export as an HTTP answer."""

from __future__ import annotations

from django.http import HttpResponse

from traces import export

_TYPES = {export.Format.JSONL: "application/jsonl", export.Format.OTLP: "application/json"}
_ENDINGS = {export.Format.JSONL: "jsonl", export.Format.OTLP: "otlp.json"}


def as_file(found: export.Export) -> HttpResponse:
    """An export as a download."""
    response = HttpResponse(found.content, content_type=_TYPES[found.format])
    name = f"trace-{found.run_id}.{_ENDINGS[found.format]}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
