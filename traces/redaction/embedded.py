"""JSON inside texts: reads it, whatever space stands around it, and writes it again as it was written."""

from __future__ import annotations

import json
from typing import Any

import orjson

BEGINNINGS = frozenset('{["\ufeff \t\r\n')
"""The characters with which a text can begin that is a container or a text in JSON."""

_OPENINGS = frozenset('{["')
_ENDINGS = frozenset('}]"')
_AROUND = "\ufeff \t\r\n"
_SHORTEST = 6
_INDENTED = json.JSONEncoder(ensure_ascii=False, indent=2)
_SPACED = json.JSONEncoder(ensure_ascii=False, check_circular=False)  # what was parsed holds no cycle
_COMPACT = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))


def opened(text: str) -> Any:
    """Return the container or text that ``text`` is in JSON; None for anything else."""
    document = text.strip(_AROUND)
    if len(document) < _SHORTEST or document[0] not in _OPENINGS or document[-1] not in _ENDINGS:
        return None
    try:
        return orjson.loads(document)
    except (ValueError, RecursionError):
        return None


def written_like(source: str, value: Any) -> str:
    """Write ``value`` in the style of ``source``, the JSON text it was read from, with what stands around that."""
    document = source.strip(_AROUND)
    style = _INDENTED if "\n" in document else _SPACED if '": ' in document else _COMPACT
    before, _, after = source.partition(document)
    return f"{before}{style.encode(value)}{after}"
