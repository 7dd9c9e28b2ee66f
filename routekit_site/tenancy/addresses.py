"""Where a request comes from, behind the proxies that the operator named and no others."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.http import HttpRequest

UNKNOWN = "0.0.0.0"  # noqa: S104 - stands for "no address" (a Unix socket); nothing is bound to it


def client_address(request: HttpRequest) -> str:
    """The address of the client, as text.

    Each of `ROUTEKIT_PROXIES` proxies appends the address that it saw to X-Forwarded-For, so the client's is that many
    from the right. What stands further left was written by the client and means nothing.
    """
    hops = [part.strip() for part in request.headers.get("x-forwarded-for", "").split(",")]
    count = settings.ROUTEKIT_PROXIES
    if 0 < count <= len(hops) and (found := _address(hops[-count])):
        return found
    return _address(request.META.get("REMOTE_ADDR", "")) or UNKNOWN


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        return ""
