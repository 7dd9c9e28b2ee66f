"""Run Python code that the model wrote, in an empty folder, without network and without other programs."""

from __future__ import annotations

import builtins
import os
import sys
import traceback
from typing import ClassVar

from pydantic import Field

from agents.tools.base import (
    ResourceLimits,
    Reversibility,
    Tool,
    ToolArguments,
    ToolContext,
    ToolError,
    ToolPermission,
    ToolResult,
)

MAX_VALUE = 10_000
MAX_FILES = 100


class RunPythonArguments(ToolArguments):
    code: str = Field(
        min_length=1,
        max_length=50_000,
        description="Python source. What it prints is returned, and the value of a variable called `result`. It runs "
        "in an empty folder that is deleted afterwards; there is no network and no other program.",
    )


class RunPythonResult(ToolResult):
    output: str = Field(description="What the code printed, cut when long.")
    result: str | None = Field(description="repr() of the variable `result`, if the code set one.")
    error: str | None = Field(description="The traceback, if the code raised.")
    files: list[str] = Field(description="Names of files that the code left in its folder (deleted afterwards).")


class RunPython(Tool[RunPythonArguments, RunPythonResult]):
    name: ClassVar[str] = "run_python"
    description: ClassVar[str] = "Run Python code in an isolated scratch folder and return what it prints."
    permissions: ClassVar[frozenset[ToolPermission]] = frozenset({ToolPermission.FILESYSTEM})
    reversibility: ClassVar[Reversibility] = Reversibility.REVERSIBLE
    timeout: ClassVar[float | None] = 30.0
    limits: ClassVar[ResourceLimits | None] = ResourceLimits(cpu_seconds=20)
    scratch_only: ClassVar[bool] = True
    Arguments = RunPythonArguments
    Result = RunPythonResult

    def run(self, arguments: RunPythonArguments, context: ToolContext) -> RunPythonResult:
        if not context.scratch:
            raise ToolError("Model-written code needs a scratch folder, which this sandbox does not give.")
        os.chdir(context.scratch)
        names: dict[str, object] = {"__name__": "__main__", "__builtins__": builtins}
        error = None
        try:
            exec(compile(arguments.code, "<code>", "exec"), names)  # noqa: S102 -- the sandbox is the boundary
        except SystemExit:
            pass
        except Exception:  # noqa: BLE001 -- whatever the code raises is the answer
            error = "".join(traceback.format_exception(*sys.exc_info(), limit=20))[-MAX_VALUE:]
        value = repr(names["result"])[:MAX_VALUE] if "result" in names else None
        getvalue = getattr(sys.stdout, "getvalue", str)
        left = sorted(entry.name for entry in os.scandir())[:MAX_FILES]
        return RunPythonResult(output=getvalue(), result=value, error=error, files=left)

    def describe(self, arguments: RunPythonArguments) -> str:
        lines = arguments.code.count("\n") + 1
        return f"Run {lines} line{'' if lines == 1 else 's'} of Python in a scratch folder, without network"
