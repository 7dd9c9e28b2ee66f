"""First-party tools that their manifest trusts: run in the worker itself, unconfined, because they need the ORM.

Their arguments and results are checked like anyone's. A deadline can't be enforced on a thread; the result of a tool
that overran is thrown away and said to be late.
"""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

from agents.sandbox.outcome import RETRYABLE, Failed, FailureKind, Outcome, Succeeded, Tier, Usage
from agents.sandbox.results import problem_with, safe_text
from agents.tools.base import Deadline, InvalidArgumentsError, InvalidResultError, Tool, ToolContext, ToolError
from agents.tools.files import FileAccess

if TYPE_CHECKING:
    from agents.sandbox.call import SandboxCall
    from agents.tools.limits import ResourceLimits


def run(call: SandboxCall, limits: ResourceLimits) -> Outcome:
    """Run a trusted tool in this thread."""
    started, cpu = time.monotonic(), time.thread_time()
    kind, message, value = FailureKind.TOOL_ERROR, "", None
    try:
        value = _load(call.entrypoint).execute(
            call.arguments, ToolContext(FileAccess("/", ()), Deadline.after(limits.timeout))
        )
        message = problem_with(value, call.result_schema) or ""
        kind = FailureKind.INVALID_RESULT
    except InvalidArgumentsError as error:
        kind, message = FailureKind.INVALID_ARGUMENTS, str(error)
    except InvalidResultError as error:
        kind, message = FailureKind.INVALID_RESULT, str(error)
    except ToolError as error:
        message = str(error)
    except Exception as error:  # noqa: BLE001 -- whatever the tool raises is its answer
        message = f"{type(error).__name__}: {error}"
    usage = Usage(time.thread_time() - cpu, time.monotonic() - started)
    if not message and usage.wall_seconds > limits.timeout:
        kind, message = FailureKind.TIMEOUT, f"The tool did not finish within {limits.timeout:g} seconds."
    if message:
        return Failed(kind, safe_text(message, 2000), kind in RETRYABLE, Tier.IN_PROCESS, usage=usage)
    return Succeeded(value, Tier.IN_PROCESS, usage=usage)


def _load(entrypoint: str) -> Tool[Any, Any]:
    module, _, name = entrypoint.partition(":")
    tool: Tool[Any, Any] = getattr(importlib.import_module(module), name)()
    return tool
