"""Messages between the sandbox's processes: four bytes of length, then JSON. Never pickle.

A child is not trusted: what it sends is bounded in length before it is read, and parsed by a parser with a bound on
nesting that refuses NaN and text that is not UTF-8.
"""

from __future__ import annotations

import os
import struct
from typing import Any

import orjson

from agents.sandbox.errors import ProtocolError

_LENGTH = struct.Struct("!I")
HEADER_SIZE = _LENGTH.size
CONTROL_LIMIT = 64 << 10
_SHORT = 16 << 10


class MessageTooLargeError(ProtocolError):
    """The message is larger than allowed."""


def encode(message: Any) -> bytes:
    """A message as it goes over the wire."""
    return pack(orjson.dumps(message))


def pack(body: bytes) -> bytes:
    """Bytes with their length in front."""
    return _LENGTH.pack(len(body)) + body


def length_of(header: bytes, limit: int) -> int:
    """The length that a header announces.

    Raises:
        MessageTooLargeError: it is above `limit`.
    """
    (length,) = _LENGTH.unpack(header)
    if length > limit:
        raise MessageTooLargeError
    return int(length)


def decode(body: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ProtocolError: not UTF-8, not JSON, nested deeper than 1,024, NaN or infinite numbers, or not an object.
    """
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"Not a message: {error}") from None
    if not isinstance(message, dict):
        raise ProtocolError("Not a message: not an object")
    return message


def write_fd(fd: int, data: bytes) -> None:
    """Write all of `data`, with write(2): the sandbox's filter refuses the calls made for sockets."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_exactly(fd: int, count: int) -> bytes:
    """`count` bytes from a descriptor.

    Raises:
        EOFError: the other side closed.
    """
    chunks: list[bytes] = []
    while count:
        chunk = os.read(fd, min(count, 1 << 20))
        if not chunk:
            raise EOFError
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)


def read_bytes(fd: int, limit: int) -> bytes:
    """One length-prefixed piece from a blocking descriptor."""
    return read_exactly(fd, length_of(read_exactly(fd, HEADER_SIZE), limit))


def read_message(fd: int, limit: int) -> dict[str, Any]:
    """One message from a blocking descriptor."""
    return decode(read_bytes(fd, limit))


def read_only_message(fd: int, limit: int) -> dict[str, Any]:
    """The one message that ever comes over a blocking descriptor, for which one read is enough when it is short.

    Raises:
        EOFError: the other side closed.
    """
    start = os.read(fd, _SHORT)
    start += read_exactly(fd, max(0, HEADER_SIZE - len(start)))
    missing = HEADER_SIZE + length_of(start[:HEADER_SIZE], limit) - len(start)
    return decode(start[HEADER_SIZE:] + read_exactly(fd, missing))
