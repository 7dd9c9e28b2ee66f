"""Rate limits: at most so many requests within any sixty seconds, exactly, however many threads and workers ask."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

import redis

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW = 60.0

# One atomic step on the server, by the server's clock: forget what is older than the window, then count, then add.
_SCRIPT = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', now - ARGV[1]))
if redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[3])
  redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[1] / 1000))
  return -1
end
local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return math.max(0, oldest[2] + ARGV[1] - now)
"""


class RateLimitError(Exception):
    """Too many requests. `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"Too many requests in a minute; the next is possible in {retry_after:.0f} seconds.")
        self.retry_after = retry_after


class RateUnavailableError(Exception):
    """The shared counter of requests can't be reached, so nothing was sent."""


class RateLimiter(Protocol):
    """Counts a request under a key, or refuses it."""

    def admit(self, key: str, per_minute: int) -> None:
        """Count one request.

        Raises:
            RateLimitError: the key has used up its minute.
            RateUnavailableError: it can't be known whether it has.
        """


class LocalRateLimiter:
    """Counts in this process: right where one broker serves all workers, as in the embedded profile."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sent: dict[str, deque[float]] = {}

    def admit(self, key: str, per_minute: int) -> None:
        now = self._clock()
        with self._lock:
            sent = self._sent.setdefault(key, deque())
            while sent and sent[0] <= now - WINDOW:
                sent.popleft()
            if len(sent) >= per_minute:
                raise RateLimitError(sent[0] + WINDOW - now)
            sent.append(now)


class SharedRateLimiter:
    """Counts in Redis, for all workers together. When Redis does not answer, nothing is sent."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
        self._script = self._redis.register_script(_SCRIPT)

    def admit(self, key: str, per_minute: int) -> None:
        try:
            wait = int(
                self._script(
                    keys=[f"routekit:egress:{key}"], args=[int(WINDOW * 1e6), per_minute, secrets.token_hex(8)]
                )
            )
        except redis.RedisError:
            raise RateUnavailableError(RateUnavailableError.__doc__) from None
        if wait >= 0:
            raise RateLimitError(wait / 1e6)


def limiter(url: str) -> RateLimiter:
    """The shared limiter when there is a Redis, else the local one."""
    return SharedRateLimiter(url) if url else LocalRateLimiter()
