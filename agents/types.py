"""Values that the agents floor shares. Pure: the standard library only."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class RuntimeDefaults:
    """How long one try may take and how often it is repeated. Seconds; the names are RouteKitAI's.

    `delay` is `min(base * 2 ** attempt, max)` with up to a quarter taken off at random, so that runs that failed
    together don't come back together. What a server asks for (`retry_after`) wins, up to the same maximum.
    """

    timeout: float = 30.0
    max_retries: int = 3
    retry_backoff_base: float = 1.0
    retry_backoff_max: float = 60.0

    def delay(self, attempt: int, retry_after: float | None = None) -> float:
        """Seconds to wait after try number `attempt` (from 0)."""
        if retry_after is not None:
            return min(max(retry_after, 0.0), self.retry_backoff_max)
        full = min(self.retry_backoff_base * 2.0 ** min(attempt, 32), self.retry_backoff_max)
        return full * random.uniform(0.75, 1.0)  # noqa: S311 - spreads load, guards nothing


RUNTIME = RuntimeDefaults()
MAX_PROMPT_CHARACTERS = 200_000
MAX_CRASHES = 3
MAX_SAME_REJECTIONS = 3
MAX_CALLS_PER_STEP = 32
