"""IP addresses of both versions, apart from versions, object identifiers, times and C++ names."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address

from traces.redaction.spans import Label, Span

_BYTE = r"(?:25[0-5]|2[0-4]\d|[01]?\d?\d)"
_IPV4 = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}(?![\w]|\.\d|-[a-z0-9])")
_IPV6 = re.compile(r"(?:[0-9A-Fa-f:]{2,30}:(?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f:]{2,39})(?:%[A-Za-z]\w{1,15})?")
_VERSION_CONTEXT = re.compile(r"(?i)(?:\bver(?:sion|\.)?|\bv|build|release|oid|firmware|==|>=|<=|~=)[\s:='\"]{0,3}$")
_COLONS = 7  # between the groups of an address that is written in full
_NOT_PERSONAL = frozenset({"0.0.0.0", "127.0.0.1", "255.255.255.255"})  # noqa: S104  recognised, not bound to


def find_ip(view: str, position: int) -> Span | None:
    """Return the address that begins at ``position``, if one does and it can identify somebody."""
    before = view[position - 1] if position else " "
    if before.isalnum() or (before in "_.:%" and _continues(view, position, before)):
        return None
    version4 = _IPV4.match(view, position)
    if version4 is not None:
        return _version4(view, version4)
    return _version6(view, position)


def _continues(view: str, position: int, before: str) -> bool:
    """Whether the punctuation before an address belongs to a longer run (an OID, ``std::``), or not (``ip:``)."""
    earlier = view[position - 2] if position > 1 else " "
    if before == ":":
        return earlier == ":" or view[position] == ":"
    return before != "%" and earlier.isalnum()


def _version4(view: str, match: re.Match[str]) -> Span | None:
    if match[0] in _NOT_PERSONAL or _VERSION_CONTEXT.search(view, max(0, match.start() - 12), match.start()):
        return None
    return Span(match.start(), match.end(), Label.IP)


def _version6(view: str, position: int) -> Span | None:
    match = _IPV6.match(view, position)
    if match is None:
        return None
    text = match[0]
    if text.endswith(":") and not text.endswith("::"):
        text = text[:-1]
    following = view[position + len(text) : position + len(text) + 1]
    colons = text.count(":")
    if ("::" not in text and colons != _COLONS and "." not in text) or following.isalnum() or following == "_":
        return None
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return None
    named = not any(character.isdigit() for character in text)
    if address.is_unspecified or address.is_loopback or named:
        return None
    return Span(position, position + len(text), Label.IP)
