"""How often one person may submit and approve: shared by all processes through Redis, in memory when embedded.

A limit protects the site from a script that ran wild; it guards no promise. So a Redis that is away lets requests pass.
"""

from __future__ import annotations

import logging
from enum import Enum
from functools import lru_cache

import redis
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.utils import timezone
from limits import RateLimitItem, parse
from limits.storage import storage_from_string
from limits.strategies import MovingWindowRateLimiter

from routekit_site.tenancy.errors import TooFast
from routekit_site.tenancy.models import User

logger = logging.getLogger(__name__)

_PATIENCE = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}


class Rate(Enum):
    """What is counted, by the name of its setting."""

    SUBMIT = "ROUTEKIT_SUBMIT_RATE"
    DECIDE = "ROUTEKIT_DECIDE_RATE"


@lru_cache(maxsize=4)
def _limiter(address: str) -> MovingWindowRateLimiter:
    patience = {} if address.startswith("memory") else _PATIENCE
    return MovingWindowRateLimiter(storage_from_string(address, **patience))


@lru_cache(maxsize=16)
def _item(text: str) -> RateLimitItem:
    return parse(text)


def check_rate(request: HttpRequest, rate: Rate) -> None:
    """Count one act of the person who asks; see `check_rate_of`."""
    check_rate_of(request.user, rate)


def check_rate_of(user: User | AnonymousUser, rate: Rate) -> None:
    """Count one act of a person, on a page or at a terminal.

    Raises:
        TooFast: one too many; it says when to come again.
    """
    item, name = _item(getattr(settings, rate.value)), f"routekit:{user.pk}"
    limiter = _limiter(settings.REDIS_URL or "memory://")
    try:
        if limiter.hit(item, rate.name, name):
            return
        wait = limiter.get_window_stats(item, rate.name, name).reset_time - timezone.now().timestamp()
    except redis.RedisError as error:
        logger.warning("a rate limit was not counted: Redis does not answer (%s)", type(error).__name__)
        return
    raise TooFast(max(1, round(wait)))
