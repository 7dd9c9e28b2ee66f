"""IP addresses of both versions, apart from versions, object identifiers, times and C++ names."""

from __future__ import annotations

import re
import socket
import string

from traces.redaction.spans import Found, Label

_IP = Label.IP
_HEXTET = r"[0-9A-Fa-f]{1,4}"
# Of version 6: eight groups, six before a dotted quad, or a double colon. Times and MAC addresses have fewer.
TRIGGER = (
    r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}"
    rf"|\b(?:{_HEXTET}:){{2,7}}:|\b{_HEXTET}::[0-9A-Fa-f]|\b(?:{_HEXTET}:){{6}}(?:{_HEXTET}:[0-9A-Fa-f]|\d{{1,3}}\.)|::{_HEXTET}"
)
_BYTE = r"(?:25[0-5]|2[0-4]\d|[01]?\d?\d)"
_IPV4 = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}(?![\w]|\.\d|-[a-z0-9])")
_IPV6 = re.compile(r"(?:[0-9A-Fa-f:]{2,30}:(?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f:]{2,39})(?:%[A-Za-z]\w{1,15})?")
_WHOLE_IPV6 = re.compile(rf"(?:{_HEXTET}:){{7}}{_HEXTET}")
_VERSION_CONTEXT = re.compile(r"(?i)(?:\bver(?:sion|\.)?|\bv|build|release|oid|firmware|==|>=|<=|~=)[\s:='\"]{0,3}$")
_VERSION_SIGNS = string.whitespace + "\x1c\x1d\x1e\x1f\x85\xa0:='\""
_VERSION_ENDS = frozenset("nN.rRvVdDeE")
_DIGIT = re.compile(r"\d")
_NOT_PERSONAL = frozenset({"0.0.0.0", "127.0.0.1", "255.255.255.255"})  # noqa: S104  recognised, not bound to


def find_ip(view: str, position: int, _end: int) -> Found | None:
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


def _version4(view: str, match: re.Match[str]) -> Found | None:
    start, end = match.span()
    return None if match[0] in _NOT_PERSONAL or _is_version(view[max(0, start - 12) : start]) else (start, end, _IP)


def _is_version(before: str) -> bool:
    """Whether the word ``before`` a dotted quad is one for a version: told by its last letter first, mostly."""
    last = before.rstrip(_VERSION_SIGNS)[-1:]
    return (last in _VERSION_ENDS or "=" in before) and _VERSION_CONTEXT.search(before) is not None


def _version6(view: str, position: int) -> Found | None:
    match = _IPV6.match(view, position)
    if match is None:
        return None
    text = match[0]
    if text.endswith(":") and not text.endswith("::"):
        text = text[:-1]
    end = position + len(text)
    following = view[end : end + 1]
    if following.isalnum() or following == "_" or _DIGIT.search(text) is None:  # a name: a::b
        return None
    return (position, end, _IP) if _WHOLE_IPV6.fullmatch(text) or _is_personal(text) else None


def _is_personal(text: str) -> bool:
    try:
        packed = socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
    except OSError:
        return False
    return packed[:-1] != bytes(15) or packed[-1] > 1  # neither the unspecified address nor the loopback
