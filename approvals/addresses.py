"""Which addresses are public, for everything that this site connects to on somebody's behalf. Pure.

`ssrfguard` holds the IANA registries; what it lets through and we don't is here.

`ipaddress.is_global` alone says yes to NAT64, 6to4, `::127.0.0.1`, `fec0::1` and multicast.
"""

from __future__ import annotations

import ipaddress

import ssrfguard

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_GLOBAL_UNICAST_6 = ipaddress.ip_network("2000::/3")
_NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "100.100.100.200/32",  # Alibaba Cloud's metadata
        "168.63.129.16/32",  # Azure's platform address, in public space
        "192.0.0.0/24",  # protocol assignments; Oracle Cloud's metadata is 192.0.0.192
        "192.88.99.0/24",  # 6to4 relays
        "2001::/23",  # protocol assignments, Teredo among them
        "2002::/16",  # 6to4 carries an IPv4 address
        "3fff::/20",  # documentation
    )
)


def refusal(address: IPAddress) -> str | None:
    """Why an address may not be connected to, or None when it is an ordinary public one."""
    verdict = ssrfguard.DEFAULT_DENIED.classify(address)
    if verdict.blocked:
        return f"{address} is not a public address ({verdict.reason})"
    if not address.is_global or address.is_multicast or address.is_reserved:
        return f"{address} is not a public address"
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST_6:
        return f"{address} is not a global unicast address"
    if any(address.version == n.version and address in n for n in _NEVER):
        return f"{address} is set aside for the network's own use"
    return None
