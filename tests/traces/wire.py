"""A browser's connection as bare bytes: what no well-behaved client sends can be sent too."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


def frame(opcode: int, payload: bytes, *, first: int = 0x80, masked: bool = True, claims: int | None = None) -> bytes:
    """One frame. `first` is FIN and the reserved bits; `claims` is a length that is a lie."""
    length = len(payload) if claims is None else claims
    mask_bit = 0x80 if masked else 0
    if length < 126:
        head = struct.pack("!BB", first | opcode, mask_bit | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", first | opcode, mask_bit | 126, length)
    else:
        head = struct.pack("!BBQ", first | opcode, mask_bit | 127, length & (2**63 - 1))
    key = os.urandom(4) if masked else b""
    return head + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload)) if masked else head + payload


def says(message: object) -> bytes:
    """A text frame of JSON."""
    return frame(TEXT, json.dumps(message).encode())


@dataclass
class Wire:
    """One TCP connection that asks for a socket; or sends `line` and nothing but a host besides."""

    url: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    line: str = ""
    heard: bytes = b""
    hung_up: bool = False

    def __enter__(self) -> Self:
        place = urlsplit(self.url)
        given = {
            "Host": place.netloc,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Version": "13",
            "Origin": self.url,
            **self.headers,
        }
        if self.line:
            given = {"Host": place.netloc}
        lines = [
            self.line or f"GET {self.path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in given.items() if value),
        ]
        asked = "\r\n".join([*lines, "", ""]).encode()
        self.socket = socket.create_connection((place.hostname, place.port), timeout=20)
        self.send(asked)
        return self

    def __exit__(self, *_error: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes; a server that has hung up meanwhile is an answer as well."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)

    def status(self) -> int:
        """The status of the answer to the handshake; 0 where the server hung up without one."""
        while b"\r\n\r\n" not in self.heard and self._receive():
            pass
        return int(self.heard.split(b" ", 2)[1]) if self.heard.startswith(b"HTTP/1.1 ") else 0

    def rest(self, patience: float = 20.0) -> bytes:
        """Read until the server hangs up or closes, or says nothing for `patience` seconds; all that was heard."""
        self.socket.settimeout(patience)
        with contextlib.suppress(TimeoutError):
            while close_code(self.heard) is None and self._receive():
                pass
        return self.heard

    def until(self, wanted: bytes) -> bytes:
        """Read until `wanted` has been heard, or the server hangs up."""
        while wanted not in self.heard and self._receive():
            pass
        return self.heard

    def _receive(self) -> bool:
        data = b""
        with contextlib.suppress(ConnectionError):
            data = self.socket.recv(65_536)
        self.heard += data
        self.hung_up = not data
        return bool(data)


def after_handshake(heard: bytes) -> bytes:
    """What came behind the answer to the handshake."""
    return heard.partition(b"\r\n\r\n")[2]


def frames(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Opcode and payload of each complete frame of the server."""
    while len(body) >= 2:
        length, start = body[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(body[2:4]), 4
        elif length == 127:
            length, start = int.from_bytes(body[2:10]), 10
        if len(body) < start + length:
            return
        yield body[0] & 0x0F, body[start : start + length]
        body = body[start + length :]


def close_code(heard: bytes) -> int | None:
    """The code with which the server closed the socket; None while it is open."""
    codes = [int.from_bytes(payload[:2]) for opcode, payload in frames(after_handshake(heard)) if opcode == CLOSE]
    return codes[0] if codes and heard.startswith(b"HTTP/1.1 101") else None


def messages(heard: bytes) -> list[Any]:
    """The JSON of the server's text frames."""
    return [json.loads(payload) for opcode, payload in frames(after_handshake(heard)) if opcode == TEXT]
