"""The tools of this installation, found at start: the built-in ones and those of installed apps.

A project adds a tool by subclassing `Tool` in the `routekit_tools.py` of an installed app. What is known of each tool
goes into `approvals.manifests`, so that policy and queue need nothing of this floor. Only the declaring side of a tool
is used here (arguments and `describe`); `run` is called by the sandbox's child alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from inspect import getmembers, isabstract, isclass
from types import ModuleType
from typing import Any

from django.apps import apps
from pydantic import BaseModel, ValidationError

from agents.errors import BadTool
from agents.tools.base import InvalidArgumentsError, Tool, ToolArguments, first_problem
from approvals import manifests

AnyTool = Tool[Any, Any]

BUILT_IN = (
    "calculator",
    "current_time",
    "delete_file",
    "http_request",
    "list_directory",
    "read_file",
    "run_python",
    "search_files",
    "write_file",
)

_tools: dict[str, type[AnyTool]] = {}


def discover() -> None:
    """Find and register every tool; safe to call again.

    Raises:
        BadTool: a tool lacks a part of its declaration, or two tools share a name.
    """
    for module in _modules():
        for tool in tools_in(module):
            register(tool)


def _modules() -> Iterator[ModuleType]:
    for name in BUILT_IN:
        yield import_module(f"agents.tools.{name}")
    for config in apps.get_app_configs():
        name = f"{config.name}.routekit_tools"
        if find_spec(name) is not None:
            yield import_module(name)


def tools_in(module: ModuleType) -> list[type[AnyTool]]:
    """The tools that a module itself defines (not those that it imports)."""
    return [
        found
        for _, found in getmembers(module, isclass)
        if issubclass(found, Tool) and not isabstract(found) and found.__module__ == module.__name__
    ]


def register(tool: type[AnyTool]) -> None:
    """Make one tool known to agents and policy."""
    manifest = manifest_of(tool)
    known = _tools.get(manifest.name)
    if known is not None and _entrypoint(known) != _entrypoint(tool):
        raise BadTool(f'Two tools are called "{manifest.name}": {_entrypoint(known)} and {_entrypoint(tool)}.')
    if known is None:
        manifests.register(manifest)
    _tools[manifest.name] = tool


def tool_named(name: str) -> type[AnyTool] | None:
    """The tool called `name`, or None."""
    return _tools.get(name)


def canonical_arguments(tool: type[AnyTool], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as they are judged, shown, approved and run: validated, defaults filled in, plain JSON.

    Raises:
        InvalidArgumentsError: they don't match; the message names the field, never its value.
    """
    try:
        parsed: BaseModel = tool.Arguments.model_validate(dict(arguments))
    except ValidationError as error:
        raise InvalidArgumentsError(first_problem(error)) from None
    values: dict[str, Any] = parsed.model_dump(mode="json")
    return values


def problems_of(tool: type[AnyTool], arguments: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with arguments, by argument: the first problem of each; empty where they match."""
    try:
        tool.Arguments.model_validate(dict(arguments))
    except ValidationError as error:
        found: dict[str, str] = {}
        for problem in error.errors(include_url=False, include_input=False, include_context=False):
            where = [str(part) for part in problem["loc"]]
            inside = f"{'.'.join(where[1:])}: " if len(where) > 1 else ""
            found.setdefault(where[0] if where else "", f"{inside}{problem['msg']}.")
        return found
    return {}


def sentence_of(tool: type[AnyTool], arguments: Mapping[str, Any]) -> str:
    """What the call will do, in one plain sentence."""
    return tool().describe(tool.Arguments.model_validate(dict(arguments)))


def manifest_of(tool: type[AnyTool]) -> manifests.ToolManifest:
    """What policy may know of a tool.

    Raises:
        BadTool: a part of the declaration is missing.
    """
    missing = [
        name
        for name in ("name", "description", "reversibility", "Arguments", "Result")
        if getattr(tool, name, None) is None
    ]
    if missing:
        raise BadTool(f"{_entrypoint(tool)} does not declare: {', '.join(missing)}.")
    if not issubclass(tool.Arguments, ToolArguments):
        raise BadTool(f"{_entrypoint(tool)}: Arguments must be a subclass of ToolArguments.")
    arguments, result = tool.Arguments.model_json_schema(), tool.Result.model_json_schema()
    return manifests.ToolManifest(
        name=tool.name,
        description=tool.description,
        permissions=frozenset(tool.permissions),
        reversibility=tool.reversibility,
        reversibility_of=tool.reversibility_of,
        argument_schema=arguments,
        result_schema=result,
        schema_digest=manifests.schema_digest(arguments, result),
        timeout=tool.timeout,
        idempotent=tool.idempotent,
        idempotent_of=tool.idempotent_for,
        entrypoint=_entrypoint(tool),
        limits=tool.limits.model_dump(exclude_unset=True) if tool.limits is not None else {},
        runs_given_code=tool.scratch_only,
    )


def _entrypoint(tool: type[AnyTool]) -> str:
    return f"{tool.__module__}:{tool.__qualname__}"
