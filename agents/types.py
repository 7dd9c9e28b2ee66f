"""Values that the agents floor shares. Pure: pydantic and the standard library only."""

from __future__ import annotations

import random

from pydantic import BaseModel, ConfigDict, Field, model_validator


class RuntimeDefaults(BaseModel):
    """How long one try may take and how often it is repeated. Seconds; names and defaults are RouteKitAI's.

    `timeout` holds for a model call, and for a tool that declares none of its own. `delay` is
    `min(base * 2 ** attempt, max)` with up to a quarter taken off at random, so that runs that failed together don't
    come back together. What a server asks for (`retry_after`) wins, up to the same maximum.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout: float = Field(default=30.0, gt=0, le=3600)
    max_retries: int = Field(default=3, ge=0, le=20)
    retry_backoff_base: float = Field(default=1.0, ge=0, le=3600)
    retry_backoff_max: float = Field(default=60.0, ge=0, le=3600)

    @model_validator(mode="after")
    def _base_below_max(self) -> RuntimeDefaults:
        if self.retry_backoff_base > self.retry_backoff_max:
            raise ValueError("retry_backoff_base is above retry_backoff_max, so it would never be waited for")
        return self

    def delay(self, attempt: int, retry_after: float | None = None) -> float:
        """Seconds to wait after try number `attempt` (from 0)."""
        if retry_after is not None:
            return min(max(retry_after, 0.0), self.retry_backoff_max)
        full = min(self.retry_backoff_base * 2.0 ** min(attempt, 32), self.retry_backoff_max)
        return full * random.uniform(0.75, 1.0)  # noqa: S311 - spreads load, guards nothing

    def overlaid(self, named: dict[str, float]) -> RuntimeDefaults:
        """These defaults with the ones that an agent names for itself.

        Raises:
            pydantic.ValidationError: an unknown name, or a value out of range.
        """
        return RuntimeDefaults.model_validate({**self.model_dump(), **named})

    def capped(self, ceiling: dict[str, float]) -> RuntimeDefaults:
        """The smaller of each value and what `ceiling` names; the base never ends above the maximum."""
        values = {name: min(value, ceiling.get(name, value)) for name, value in self.model_dump().items()}
        values["retry_backoff_base"] = min(values["retry_backoff_base"], values["retry_backoff_max"])
        return RuntimeDefaults.model_validate(values)


MAX_PROMPT_CHARACTERS = 1_000_000
MAX_CRASHES = 3
MAX_SAME_REJECTIONS = 3
MAX_CALLS_PER_STEP = 32
