"""One POST to an address that somebody typed in: public hosts over HTTPS only, connected to exactly what was checked.

Private addresses are refused as the egress broker refuses them (`approvals.addresses`), with `ssrfguard` holding the
connection to the address that was looked at. Redirects are answers like any other, nothing of a body is read, and one
deadline holds for all of it.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.conf import settings
from ssrfguard import Policy, SSRFGuardError
from ssrfguard.httpx import Client

from approvals.addresses import refusal

logger = logging.getLogger(__name__)

DEADLINE = 5.0
_HTTPS_PORT = 443
_HTTP_PORT = 80
_ANYWHERE = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


@dataclass(frozen=True)
class Answered:
    """The other side answered with this status, whatever it is."""

    status: int


@dataclass(frozen=True)
class Unanswered:
    """No answer; `problem` says why in words that hold nothing of what was sent."""

    problem: str


Answer = Answered | Unanswered


def problem_of(url: str) -> str:
    """Why nothing can be sent to an address as it is written, or an empty text. Looks nothing up."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "This is not an address."
    if not host or any(character.isspace() or not character.isprintable() for character in url):
        return "Write a whole address, such as https://hooks.example.org/routekit."
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "Leave out user name, password and what follows a #. The signature says who sends."
    return "" if _is_named(host, port, parts.scheme) else _place_problem(host, port, parts.scheme)


def _place_problem(host: str, port: int | None, scheme: str) -> str:
    """Why a host that the operator has not named can't be reached this way, or an empty text."""
    if scheme != "https":
        return "It must begin with https://. Other hosts have to be named in ROUTEKIT_WEBHOOK_HOSTS by the operator."
    if port not in {None, _HTTPS_PORT}:
        return "Only port 443 is used. Other ports have to be named in ROUTEKIT_WEBHOOK_HOSTS by the operator."
    return _literal_problem(host)


def _literal_problem(host: str) -> str:
    try:
        problem = refusal(ipaddress.ip_address(host))
    except ValueError:
        return ""
    return f"{problem[0].upper()}{problem[1:]}." if problem else ""


def _is_named(host: str, port: int | None, scheme: str) -> bool:
    """Whether the operator named this host and port although it is not a public HTTPS address."""
    if scheme not in {"http", "https"}:
        return False
    wanted = port or (_HTTPS_PORT if scheme == "https" else _HTTP_PORT)
    return f"{host.lower()}:{wanted}" in settings.ROUTEKIT_WEBHOOK_HOSTS


def post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send, and answer with the status within `DEADLINE` seconds. Never raises."""
    problem = problem_of(url)
    if problem:
        return Unanswered(problem)
    client = _client(url)
    sender = ThreadPoolExecutor(max_workers=1, thread_name_prefix="webhook")
    try:
        return sender.submit(_send, client, url, body, dict(headers)).result(timeout=DEADLINE)
    except Late:
        return Unanswered(f"no answer within {DEADLINE:.0f} s")
    finally:
        # The thread of a late answer ends with its connection, which is closed under it.
        client.close()
        sender.shutdown(wait=False, cancel_futures=True)


def _send(client: Client, url: str, body: bytes, headers: dict[str, str]) -> Answer:
    try:
        with client.stream("POST", url, content=body, headers=headers) as response:
            return Answered(response.status_code)
    except SSRFGuardError:
        return Unanswered("the address is not a public one")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        return Unanswered(f"no connection ({type(error).__name__})")
    except Exception as error:  # noqa: BLE001 - whatever comes back from outside is told, and nothing else stops for it
        logger.warning("a webhook failed in an unexpected way (%s)", type(error).__name__)
        return Unanswered(f"no answer ({type(error).__name__})")


def _client(url: str) -> Client:
    parts = urlsplit(url)
    named = _is_named(parts.hostname or "", parts.port, parts.scheme)
    port = parts.port or (_HTTPS_PORT if parts.scheme == "https" else _HTTP_PORT)
    policy = Policy(
        allowed_schemes=frozenset({"http", "https"} if named else {"https"}),
        allowed_ports=frozenset({port}),
        allowed_networks=_ANYWHERE if named else (),
    )
    resolver = socket.getaddrinfo if named else _public_addresses
    return Client(policy=policy, resolver=resolver, timeout=DEADLINE, follow_redirects=False, trust_env=False)


def _public_addresses(*asked: Any, **options: Any) -> list[Any]:
    """What `getaddrinfo` answers, if all of it may be connected to.

    Raises:
        OSError: there is no such host, or one of its addresses is not public.
    """
    found = socket.getaddrinfo(*asked, **options)
    for entry in found:
        if refusal(ipaddress.ip_address(str(entry[4][0]).partition("%")[0])) is not None:
            raise OSError("the address is not a public one")
    return list(found)
