"""One HTTP request, through the egress broker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal
from urllib.parse import urljoin, urlsplit

import httpx
from pydantic import Field

from agents.tools.base import (
    Reversibility,
    Tool,
    ToolArguments,
    ToolContext,
    ToolError,
    ToolPermission,
    ToolResult,
    byte_size,
    quoted,
)

MAX_TEXT = 200_000
_SAFE = frozenset({"GET", "HEAD"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class HttpRequestArguments(ToolArguments):
    url: str = Field(min_length=8, max_length=2000, pattern=r"^https?://", description="An http or https address.")
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    headers: dict[str, str] = Field(default_factory=dict, max_length=30, description="Header fields to send.")
    body: str = Field(default="", max_length=500_000, description="The request's body.")


class HttpRequestResult(ToolResult):
    status: int
    url: str = Field(description="The address that answered, after redirects of its host.")
    content_type: str
    text: str
    truncated: bool


class HttpRequest(Tool[HttpRequestArguments, HttpRequestResult]):
    name: ClassVar[str] = "http_request"
    description: ClassVar[str] = "Send one HTTP request to an allowed host and return the answer's text."
    permissions: ClassVar[frozenset[ToolPermission]] = frozenset({ToolPermission.NETWORK})
    reversibility: ClassVar[Reversibility] = Reversibility.IRREVERSIBLE
    timeout: ClassVar[float | None] = 30.0
    Arguments = HttpRequestArguments
    Result = HttpRequestResult

    @classmethod
    def reversibility_of(cls, arguments: Mapping[str, Any]) -> Reversibility:
        """Fetching changes nothing out there, though what was asked for has been told (RFC 9110, safe methods)."""
        return Reversibility.EXTERNALLY_REVERSIBLE if arguments["method"] in _SAFE else cls.reversibility

    @classmethod
    def idempotent_for(cls, arguments: Mapping[str, Any]) -> bool:
        """Fetching again does no harm; servers are free to mind a repeated PUT or DELETE, whatever RFC 9110 says."""
        return arguments["method"] in _SAFE

    def run(self, arguments: HttpRequestArguments, context: ToolContext) -> HttpRequestResult:
        try:
            answer = context.http.request(
                arguments.method,
                arguments.url,
                headers=arguments.headers,
                content=arguments.body.encode() if arguments.body else None,
            )
        except (httpx.InvalidURL, UnicodeEncodeError) as error:
            raise ToolError(f"The request is not valid: {error}") from None
        came_from = str(answer.extensions.get("final_url", answer.url))
        if answer.status_code in _REDIRECTS and "location" in answer.headers:
            target = urljoin(came_from, answer.headers["location"])
            raise ToolError(
                f"The answer is a redirect to another host. Request that address by itself: {quoted(target)}"
            )
        text = answer.text
        return HttpRequestResult(
            status=answer.status_code,
            url=came_from,
            content_type=answer.headers.get("content-type", ""),
            text=text[:MAX_TEXT],
            truncated=len(text) > MAX_TEXT,
        )

    def describe(self, arguments: HttpRequestArguments) -> str:
        body = f" with {byte_size(len(arguments.body.encode('utf-8', 'replace')))} of data" if arguments.body else ""
        try:
            host = urlsplit(arguments.url).hostname or "?"
        except ValueError:
            host = "?"
        return f"Send {arguments.method}{body} to {quoted(host)}: {quoted(arguments.url)}"
