"""What may stand in the log: what happened and where, never what somebody wrote.

Our own messages name ids and states only. This is the second wall: libraries log the texts of errors and the arguments
of calls, and either may hold a prompt, an address or a key.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from traces.redaction import PIIRedactionHook

# Celery's names for what a task was given, what it gave back and what it raised.
_PAYLOADS = frozenset({"args", "kwargs", "return_value", "result", "exc", "traceback"})
_FRAMES = 12

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class RedactingFilter(logging.Filter):
    """Replaces errors by their kind, drops tasks' payloads and redacts what is left of a message."""

    def __init__(self) -> None:
        super().__init__()
        self._redactor = PIIRedactionHook(mode="typed").compile()

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; never holds one back, and never lets one through raw."""
        try:
            record.args = _without_payloads(record.args)
            record.msg = self._redactor.redact(record.getMessage())
        except Exception as error:  # noqa: BLE001 - a message that can't be redacted is not written
            record.msg = f"[a message that could not be redacted: {type(error).__name__}]"
        record.args = None
        return True


def _without_payloads(args: Any) -> Any:
    if isinstance(args, Mapping):
        return {name: "…" if name in _PAYLOADS else _kind_of_error(value) for name, value in args.items()}
    if isinstance(args, tuple):
        return tuple(_kind_of_error(value) for value in args)
    return args


def _kind_of_error(value: object) -> object:
    return type(value).__name__ if isinstance(value, BaseException) else value


class PlainFormatter(logging.Formatter):
    """Writes an exception as its kind and the places it came through, without its text."""

    def format(self, record: logging.LogRecord) -> str:
        """One record; what another handler cached of the exception is not used."""
        record.exc_text = None
        text = super().format(record)
        record.exc_text = None
        return text

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802 - the name is the standard library's
        """The kinds of the chain's errors, outermost first, each with its innermost frames."""
        lines: list[str] = []
        error = ei[1]
        while error is not None and len(lines) < _FRAMES:
            frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
            places = " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames))
            lines.append(f"{type(error).__module__}.{type(error).__qualname__} at {places or 'an unknown place'}")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n  caused by ".join(lines)
