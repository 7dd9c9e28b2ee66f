"""What may stand in the log: what happened and where, never what somebody wrote.

Our own messages name ids and states only. This is the second wall: libraries log the texts of errors and the arguments
of calls, and either may hold a prompt, an address or a key.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any

import structlog

from traces.redaction import PIIRedactionHook

# Celery's names for what a task was given, what it gave back and what it raised.
_PAYLOADS = frozenset({"args", "kwargs", "return_value", "result", "exc", "traceback"})
_FRAMES = 12

EventDict = MutableMapping[str, Any]
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
    """For people: a line with the bound ids at its end; an exception as its kind and the places it came through."""

    def format(self, record: logging.LogRecord) -> str:
        """One record; what another handler cached of the exception is not used."""
        record.exc_text = None
        text = super().format(record)
        record.exc_text = None
        return text

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is the standard library's
        """The line, and which request, run or gate it belongs to."""
        ids = structlog.contextvars.get_contextvars()
        return " ".join([super().formatMessage(record), *(f"{name}={value}" for name, value in ids.items())])

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802 - the name is the standard library's
        """The kinds of the chain's errors, outermost first, each with its innermost frames."""
        return "\n  caused by ".join(_causes(ei[1]))


def _causes(error: BaseException | None) -> list[str]:
    lines: list[str] = []
    while error is not None and len(lines) < _FRAMES:
        frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
        places = " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames))
        lines.append(f"{type(error).__module__}.{type(error).__qualname__} at {places or 'an unknown place'}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return lines


def _without_texts(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """An exception as kinds and places, for a program."""
    raised = event.pop("exc_info", None)
    event.pop("stack_info", None)
    return {**event, "causes": _causes(raised[1])} if isinstance(raised, tuple) else event


def json_formatter() -> logging.Formatter:
    """For programs: one JSON object a line: `timestamp` (ISO 8601, UTC), `level`, `logger`, `event`, bound ids."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            _logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _without_texts,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )


def _logger_name(_logger: Any, _method: str, event: EventDict) -> EventDict:
    return {**event, "logger": event["_record"].name}
