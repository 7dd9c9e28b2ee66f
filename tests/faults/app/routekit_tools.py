"""Tools whose effect is a line in a journal outside of the database, so that a second one can't be hidden."""

from __future__ import annotations

import json
import os
import time
from typing import ClassVar

from pydantic import Field

from agents.tools.base import Reversibility, Tool, ToolArguments, ToolContext, ToolPermission, ToolResult

JOURNAL = "effects.log"


class EffectArguments(ToolArguments):
    key: str = Field(min_length=1, max_length=200)
    linger: float = Field(default=0.0, ge=0, le=20, description="Seconds to stay after the effect.")


class EffectResult(ToolResult):
    key: str


class Effect(Tool[EffectArguments, EffectResult]):
    """Not idempotent: a second line under the same key is a broken promise."""

    name: ClassVar[str] = "effect"
    description: ClassVar[str] = "Write one line into the journal."
    permissions: ClassVar[frozenset[ToolPermission]] = frozenset({ToolPermission.FILESYSTEM})
    reversibility: ClassVar[Reversibility] = Reversibility.REVERSIBLE
    timeout: ClassVar[float | None] = 30.0
    Arguments = EffectArguments
    Result = EffectResult

    def run(self, arguments: EffectArguments, context: ToolContext) -> EffectResult:
        line = json.dumps({"tool": self.name, "key": arguments.key}) + "\n"
        journal = os.open(f"{context.files.root}/{JOURNAL}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(journal, line.encode())
        os.close(journal)
        time.sleep(arguments.linger)
        return EffectResult(key=arguments.key)

    def describe(self, arguments: EffectArguments) -> str:
        return f"Write {arguments.key} into the journal"


class Repeatable(Effect):
    """Idempotent: a second line under the same key is what its declaration allows."""

    name: ClassVar[str] = "repeatable"
    description: ClassVar[str] = "Write one line into the journal; twice does no harm."
    idempotent: ClassVar[bool] = True
