"""Tools for the tests of `run` that are not attacks, and are not imported ahead of time."""

from __future__ import annotations

import threading
from typing import ClassVar

from agents.tools.base import Reversibility, Tool, ToolArguments, ToolContext, ToolResult


class EchoArguments(ToolArguments):
    text: str


class EchoResult(ToolResult):
    text: str
    thread: int = 0


class Echo(Tool[EchoArguments, EchoResult]):
    name: ClassVar[str] = "echo"
    description: ClassVar[str] = "Returns its text."
    reversibility: ClassVar[Reversibility] = Reversibility.READ_ONLY
    Arguments = EchoArguments
    Result = EchoResult

    def run(self, arguments: EchoArguments, context: ToolContext) -> EchoResult:  # noqa: ARG002 -- it needs none
        return EchoResult(text=arguments.text, thread=threading.get_ident())

    def describe(self, arguments: EchoArguments) -> str:
        return arguments.text
