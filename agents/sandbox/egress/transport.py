"""The httpx transport inside the sandbox: each request is one message to the broker, each answer one message back.

The child has one descriptor and no right to make a socket; what may be reached is decided on the other side of it.
"""

from __future__ import annotations

import threading
from typing import Any

import httpx

from agents.sandbox import framing

MAX_HEAD = 256 << 10
MAX_BODY = 64 << 20


class EgressError(httpx.TransportError):
    """The broker did not let the request go, or it failed. `kind` is a `FailureKind`."""

    def __init__(self, kind: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after


class BrokerTransport(httpx.BaseTransport):
    """Sends requests through the descriptor `fd`, one at a time."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        head = {
            "method": request.method,
            "url": str(request.url),
            "headers": [[k.decode("latin-1"), v.decode("latin-1")] for k, v in request.headers.raw],
        }
        with self.lock:
            answer, content = self._exchange(head, body)
        if "error" in answer:
            raise EgressError(answer["error"], answer["message"], answer.get("retry_after"))
        headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in answer["headers"]]
        extensions = {"final_url": answer["url"]}
        return httpx.Response(answer["status"], headers=headers, content=content, extensions=extensions)

    def _exchange(self, head: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        try:
            framing.write_fd(self.fd, framing.encode(head) + framing.pack(body))
            answer = framing.read_message(self.fd, MAX_HEAD)
            return answer, framing.read_bytes(self.fd, MAX_BODY)
        except (EOFError, OSError):
            raise EgressError("network_refused", "This tool was not given the network permission.") from None
