"""Host names and rules about them: pure, and strict. What can't be read in exactly one way is refused.

getaddrinfo turns `2130706433`, `0x7f.1`, `127.1`, circled digits and `127.0.0.1` followed by a NUL into 127.0.0.1, so a
name that looks like a number in any notation but the plain one is refused before any look-up.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

import idna

DEFAULT_PORTS = (80, 443)
MAX_PORT = 65_535
_MAX_HOST = 253
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class HostError(ValueError):
    """This is not a host name or an address."""


def normalised(host: str) -> str:
    """A host name in lower-case ASCII (IDNA 2008) without a final dot, or a plain IP address in its usual form.

    Raises:
        HostError: empty, too long, a character or label that IDNA refuses, a zone index, or a number in disguise.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    address = literal_address(bare)
    if address is not None:
        return str(address)
    name = bare.removesuffix(".")
    if not name or len(name) > _MAX_HOST:
        raise HostError(f"{host!a} is not a host name.")
    try:
        name = (
            name.lower() if name.isascii() else idna.encode(name.lower(), uts46=False, std3_rules=True).decode("ascii")
        )
    except idna.IDNAError as error:
        raise HostError(f"{host!a} is not a host name: {error}") from None
    labels = name.split(".")
    if not all(_LABEL.match(label) for label in labels):
        raise HostError(f"{host!a} is not a host name.")
    if _NUMBER.match(labels[-1]):
        raise HostError(f"{host!a} is a number that some resolvers read as an address; write the address plainly.")
    return name


def literal_address(text: str) -> IPAddress | None:
    """The address that `text` plainly is, or None. A zone index (`fe80::1%eth0`) is never plain."""
    if "%" in text:
        raise HostError("An address with a zone index can't be used.")
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


@dataclass(frozen=True)
class HostRule:
    """`example.org`, `*.example.org` (any name below, not itself), each with or without `:port`."""

    host: str
    wildcard: bool
    port: int | None

    @classmethod
    def parse(cls, text: str) -> HostRule:
        """Read a rule as an operator writes it.

        Raises:
            HostError: not a host, a bare `*`, a wildcard elsewhere than in front, or a port out of range.
        """
        host, port = split_port(text.strip())
        wildcard = host.startswith("*.")
        name = normalised(host[2:] if wildcard else host)
        if wildcard and ("." not in name or literal_address(name) is not None):
            raise HostError(f"{text!a} is too wide; name a domain below a top-level domain.")
        return cls(name, wildcard, port)

    def covers(self, host: str) -> bool:
        """Whether a normalised host falls under this rule, whatever the port."""
        return host.endswith("." + self.host) if self.wildcard else host == self.host

    def matches(self, host: str, port: int) -> bool:
        """Whether a normalised host and a port fall under this rule; without a port it means 80 and 443."""
        return self.covers(host) and (port == self.port if self.port is not None else port in DEFAULT_PORTS)


def split_port(text: str) -> tuple[str, int | None]:
    """`host:port` in its parts; an IPv6 address with a port stands in brackets.

    Raises:
        HostError: the port is not a number from 1 to 65,535.
    """
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise HostError(f"{text!a} is not a host.")
        return host[1:], _port(rest[1:], text) if rest else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, _port(port, text)
    return text, None


def _port(digits: str, shown: str) -> int:
    if not (digits.isascii() and digits.isdigit() and 1 <= int(digits) <= MAX_PORT):
        raise HostError(f"{shown!a}: the port must be a number from 1 to {MAX_PORT}.")
    return int(digits)


@dataclass(frozen=True)
class NetworkRule:
    """What an operator lets one agent reach although it is private: a network (`10.0.0.0/8`) or `host:port`."""

    network: IPNetwork | None
    host: HostRule | None

    @classmethod
    def parse(cls, text: str) -> NetworkRule:
        """Read a rule as an operator writes it.

        Raises:
            HostError: neither a network with its prefix length nor `host:port`.
        """
        if "/" in text:
            try:
                return cls(ipaddress.ip_network(text.strip()), None)
            except ValueError as error:
                raise HostError(f"{text!a} is not a network: {error}") from None
        rule = HostRule.parse(text)
        if rule.port is None or rule.wildcard:
            raise HostError(f"{text!a}: name a network such as 10.1.0.0/16, or one host with its port.")
        return cls(None, rule)


@dataclass(frozen=True)
class HostRules:
    """All of one agent's rules about hosts. Empty allows nothing; a block beats everything."""

    allowed: tuple[HostRule, ...] = ()
    blocked: tuple[HostRule, ...] = ()
    private: tuple[NetworkRule, ...] = ()

    def refusal(self, host: str, port: int) -> str | None:
        """Why a request to a normalised host and port is refused by name, or None."""
        if self.blocks(host, port):
            return f"{host} is blocked for this agent."
        if any(r.matches(host, port) for r in self.allowed) or self._named_privately(host, port):
            return None
        if any(r.covers(host) for r in self.allowed):
            return f"Port {port} of {host} is not allowed for this agent."
        return f"{host} is not among the hosts that this agent may reach."

    def blocks(self, host: str, port: int) -> bool:
        """Whether an operator blocked this host or address, for every port or for this one."""
        return any(r.covers(host) and r.port in (None, port) for r in self.blocked)

    def permits_private(self, host: str, port: int, address: IPAddress) -> bool:
        """Whether an operator named this address, or this host and port, although it is not public."""
        # A name may be moved to a machine's metadata service; only an address, written out, can mean that one.
        by_name = bool(host) and (literal_address(host) is not None or not address.is_link_local)
        for rule in self.private:
            if by_name and rule.host is not None and rule.host.matches(host, port):
                return True
            if rule.network is not None and address.version == rule.network.version and address in rule.network:
                return True
        return False

    def _named_privately(self, host: str, port: int) -> bool:
        if any(r.host is not None and r.host.matches(host, port) for r in self.private):
            return True
        address = literal_address(host)
        return address is not None and port in DEFAULT_PORTS and self.permits_private("", port, address)
