"""Paths and hosts in the one form in which policy compares them. Pure.

Both fail closed: what could be read in two ways (a `..`, user names in an address, numbers that are nearly an IP
address) has no canonical form, and no constraint is ever met by it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

import idna

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\\]")
_NUMBER_LIKE = re.compile(r"(0x[0-9a-f]*|\d+)$")
_MAX_PORT = 65535


class Path(NamedTuple):
    """A path's parts without `.` and empty ones; a relative path starts at the agent's folder."""

    absolute: bool
    parts: tuple[str, ...]

    def is_under(self, base: Path) -> bool:
        """Whether this is `base` or something below it."""
        return self.absolute == base.absolute and self.parts[: len(base.parts)] == base.parts


@lru_cache(maxsize=4096)
def path_of(text: str) -> Path | None:
    """The canonical path, or None for one that goes up (`..`) or holds a NUL.

    Links need no resolving: the sandbox follows none (`agents.tools.files`).
    """
    parts = tuple(part for part in text.split("/") if part not in {"", "."})
    if ".." in parts or "\0" in text:
        return None
    return Path(text.startswith("/"), parts)


@dataclass(frozen=True)
class Host:
    """A host name or address in canonical form; `port` None where the text named none and its scheme implies none."""

    name: str
    port: int | None
    usual_port: bool


@lru_cache(maxsize=4096)
def host_of(text: str) -> Host | None:
    """The host that an address (`https://example.com/x`) or a host text (`example.com:8443`) leads to.

    None for anything that two readers could understand differently: white space, backslashes, user names, schemes
    other than http and ws, IP addresses in any but the usual spelling.
    """
    if _UNSAFE.search(text):
        return None
    scheme, separator, _ = text.partition("://")
    if separator and scheme.lower() not in _DEFAULT_PORTS:
        return None
    try:
        split = urlsplit(text if separator else f"//{text}")
        name, port = split.hostname, split.port
    except ValueError:
        return None
    if not name or _is_ambiguous(split.netloc) or not (separator or split.netloc == text):
        return None
    canonical = host_name(name)
    if canonical is None:
        return None
    usual = _DEFAULT_PORTS.get(scheme.lower()) if separator else None
    return Host(canonical, usual if port is None else port, port is None or port == usual)


def _is_ambiguous(authority: str) -> bool:
    """User names before the host, or something beside brackets: httpx reads `[::1]1` as port 1, Python as no port."""
    before, _, rest = authority.partition("[")
    return "@" in authority or (rest != "" and (before != "" or rest.partition("]")[2][:1] not in {"", ":"}))


@lru_cache(maxsize=4096)
def host_name(name: str) -> str | None:
    """A host name in lower case and in its ASCII form, an IP address compressed; None where it is neither."""
    bare = name.lower().removesuffix(".")
    try:
        return ipaddress.ip_address(bare).compressed
    except ValueError:
        pass
    try:
        ascii_name = bare if bare.isascii() else idna.encode(bare, uts46=True).decode("ascii")
    except idna.IDNAError:
        return None
    labels = ascii_name.split(".")
    # The resolver reads `127.1`, `0x7f000001` and `①②⑦.⓪.⓪.①` as addresses: a last label that is a number is no name.
    if not all(labels) or _NUMBER_LIKE.match(labels[-1]):
        return None
    return ascii_name if all(re.fullmatch(r"[a-z0-9_-]{1,63}", label) for label in labels) else None


@dataclass(frozen=True)
class HostPattern:
    """One entry of a `host_in` constraint: a host, or everything below it (`*.example.com`), perhaps on one port."""

    name: str
    below: bool
    port: int | None

    def covers(self, host: Host) -> bool:
        """Whether `host` is meant. An entry without a port means the scheme's usual one."""
        named = host.name.endswith(f".{self.name}") if self.below else host.name == self.name
        return named and (host.usual_port if self.port is None else host.port == self.port)


@lru_cache(maxsize=4096)
def host_pattern(text: str) -> HostPattern | None:
    """The entry that `text` spells, or None where it spells none."""
    below = text.startswith("*.")
    host = host_of(text.removeprefix("*.")) if "://" not in text else None
    if host is None or (below and _is_address(host.name)):
        return None
    if host.port is not None and not 0 < host.port <= _MAX_PORT:
        return None
    return HostPattern(host.name, below, host.port)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
