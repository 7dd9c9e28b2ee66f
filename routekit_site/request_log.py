"""One id for each request: in the answer's `X-Request-ID`, in each line logged meanwhile, and in one at its end."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.http import HttpRequest, HttpResponse
from structlog.contextvars import bind_contextvars, clear_contextvars

from routekit_site.tenancy.spans import span

logger = logging.getLogger(__name__)

HEADER = "X-Request-ID"
# A proxy's id is taken over, so that its log and ours meet; anything else that came in the header is not repeated.
_TAKEN_OVER = re.compile(r"[A-Za-z0-9-]{8,64}")
_SUBJECTS = {"run_id": "run", "gate_id": "gate"}


@contextmanager
def _only(**ids: str) -> Iterator[None]:
    """Bind these ids and at the end let go of all that was bound: the thread serves other requests too."""
    clear_contextvars()
    bind_contextvars(**ids)
    try:
        yield
    finally:
        clear_contextvars()


class RequestLogMiddleware:
    """Stands first. Logs the name of the address, never its text: what follows a `?` may hold what somebody typed."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get(HEADER, "")
        request_id = given if _TAKEN_OVER.fullmatch(given) else uuid.uuid4().hex
        started = time.monotonic()
        with _only(request=request_id), span("request", request=request_id) as current:
            response = self.get_response(request)
            match = request.resolver_match
            name = (match.view_name if match else "") or "an address without a name"
            current.update_name(f"{request.method} {name}")
            current.set_attribute("http.response.status_code", response.status_code)
            took = round((time.monotonic() - started) * 1000)
            logger.info("%s %s answered %d in %d ms", request.method, name, response.status_code, took)
        response[HEADER] = request_id
        return response

    def process_view(
        self, _request: HttpRequest, _view: Callable[..., Any], _args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Name the run or the gate that the address is about in every line from here on."""
        bind_contextvars(**{_SUBJECTS[name]: str(value) for name, value in kwargs.items() if name in _SUBJECTS})
