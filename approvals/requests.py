"""An HTTP request as a reviewer has to see it, and hosts that are not what they look like. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import idna

from approvals.rendering import Renderer, visible

_URL = re.compile(r"\bhttps?://[^\s\"'<>\\]{1,2000}", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")
_CONFUSABLE_SCRIPTS = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"})


@dataclass(frozen=True)
class HttpCall:
    """A request as it will be sent: `url` absolute, `headers` as given, `body` as text."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


def request_section(renderer: Renderer, call: HttpCall) -> dict[str, Any]:
    """The documented Request section (`docs/reference/presentation.md`)."""
    host, port = _host_and_port(call.url)
    headers = renderer.redact(dict(call.headers))
    return {
        "method": visible(call.method),
        "url": renderer.text(call.url).as_dict(),
        "host": {
            "shown": renderer.text(host).as_dict(),
            "ascii": renderer.redact(visible(ascii_host(host))),
            "unusual": is_unusual(host),
        },
        "port": port,
        "headers": [
            {"name": renderer.text(name, str(shown)).as_dict(), "value": renderer.text(value, str(masked)).as_dict()}
            for (name, value), (shown, masked) in zip(call.headers.items(), headers.items(), strict=True)
        ],
        "body": renderer.text(call.body).as_dict() if call.body else None,
    }


def ascii_host(host: str) -> str:
    """The name that is looked up: IDNA 2008 with UTS 46 mapping, or the host as it is where it is no valid name."""
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        return host


def is_unusual(host: str) -> bool:
    """Whether a host may not be the one it looks like: it is not plain ASCII, or is punycode already."""
    return not host.isascii() or any(label.lower().startswith("xn--") for label in host.split("."))


def mixes_scripts(text: str) -> bool:
    """Whether some word mixes letters of alphabets that look alike (UTS 39, mixed-script confusables)."""
    if text.isascii():
        return False
    return any(not word.isascii() and len(_scripts(word) & _CONFUSABLE_SCRIPTS) > 1 for word in _WORD.findall(text))


def hosts_of(text: str) -> list[str]:
    """A warning for each address in the text whose host may not be the one it looks like."""
    warnings = []
    for match in _URL.finditer(text):
        host, _ = _host_and_port(match[0])
        if is_unusual(host):
            warnings.append(
                f"The host {visible(host)} is really {visible(ascii_host(host))}. It may imitate another one."
            )
    return warnings


def _scripts(word: str) -> set[str]:
    return {unicodedata.name(letter, "?").split(" ")[0] for letter in word}


def _host_and_port(url: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", None
    return host, port
