"""`manage.py check --deploy`: what Django does not know about this site, as warnings with what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register  # noqa: A004 - Django's name

from routekit_site.env import parse_address


def _demo() -> Iterable[CheckMessage]:
    if settings.DEMO:
        yield Warning(
            "Demo mode is on: its accounts and passwords are public.",
            hint="Run without ROUTEKIT_DEMO, with keys of your own (python -m routekit_site.make_keys).",
            id="routekit.W001",
        )


def _https() -> Iterable[CheckMessage]:
    if not settings.SECURE_COOKIES:
        yield Warning(
            "Cookies travel without HTTPS.",
            hint="Leave ROUTEKIT_HTTPS at true and put a proxy with TLS in front.",
            id="routekit.W002",
        )


def _sandbox() -> Iterable[CheckMessage]:
    if settings.ROUTEKIT_SANDBOX_REQUIRE != "kernel":
        yield Warning(
            "Tools run even where the kernel gives no boundary.",
            hint="Set ROUTEKIT_SANDBOX_REQUIRE=kernel; manage.py sandbox_doctor says what the machine lacks.",
            id="routekit.W003",
        )


def _bind() -> Iterable[CheckMessage]:
    if not parse_address(settings.ROUTEKIT_BIND).is_loopback and not settings.SECURE_COOKIES:
        yield Warning(
            f"{settings.ROUTEKIT_BIND} can be reached from other machines, without HTTPS.",
            hint="Listen on 127.0.0.1 (ROUTEKIT_BIND) behind a proxy with TLS.",
            id="routekit.W004",
        )


def _keys() -> Iterable[CheckMessage]:
    if not settings.ROUTEKIT_VERIFY_KEYS:
        yield Warning(
            "No public key is set: no approval can be verified, so no approved call ever runs.",
            hint="Set ROUTEKIT_VERIFY_KEYS in every process.",
            id="routekit.W005",
        )
    if settings.SECRET_KEY in settings.ROUTEKIT_ENCRYPTION_KEYS:
        yield Warning(
            "The secret key is an encryption key too: whoever learns one has both.",
            hint="Make separate keys: python -m routekit_site.make_keys.",
            id="routekit.W006",
        )


def _debug() -> Iterable[CheckMessage]:
    if settings.DEBUG:
        yield Warning(
            "DEBUG is on: error pages show settings and values.",
            hint="No variable of ours switches it on; look at DJANGO_SETTINGS_MODULE.",
            id="routekit.W007",
        )


def _hosts() -> Iterable[CheckMessage]:
    if any(host in {"*", ".", ""} or host.startswith("*") for host in settings.ALLOWED_HOSTS):
        yield Warning(
            "The site answers under any host name.",
            hint="Name the site's own hosts in ROUTEKIT_ALLOWED_HOSTS.",
            id="routekit.W008",
        )


@register(Tags.security, deploy=True)
def deployment(**_options: Any) -> list[CheckMessage]:
    """All of them."""
    return [message for check in (_demo, _https, _sandbox, _bind, _keys, _debug, _hosts) for message in check()]
