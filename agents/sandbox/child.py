"""The inside: one process, one call. Locks itself, runs the tool, answers once, and waits to be killed.

Whatever this process says is checked by the worker: its memory belongs to the tool's code.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import resource
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from typing import TYPE_CHECKING, Any

import httpx
import orjson
from pydantic import Field

from agents.sandbox import framing, lockdown, namespaces, syscalls, witness
from agents.sandbox.egress.transport import BrokerTransport, EgressError
from agents.sandbox.outcome import AttackClass, Attempt, FailureKind
from agents.tools.base import (
    Deadline,
    InvalidArgumentsError,
    InvalidResultError,
    Reversibility,
    Tool,
    ToolArguments,
    ToolContext,
    ToolError,
    ToolResult,
)
from agents.tools.files import FileAccess, FileRefusedError, Grant

if TYPE_CHECKING:
    from collections.abc import Sequence

CHANNEL, EGRESS, RULESET = 3, 4, 5
MAX_REQUEST = 4 << 20
READY = b"\x01"
_MAX_MESSAGE = 2000
_PRACTICE = 10  # CPython rewrites a function for the types that it meets from about its eighth call on
_FULL = frozenset({errno.EFBIG, errno.ENOSPC, errno.EMFILE, errno.EDQUOT, errno.ENOMEM, errno.EAGAIN})
_FORBIDDEN = frozenset({errno.EPERM, errno.EACCES, errno.EROFS, errno.EXDEV, errno.ELOOP, errno.ENOSYS})


@dataclass(frozen=True)
class Request:
    """What the worker asks for, as it stands in the message."""

    tool: str
    entrypoint: str
    arguments: dict[str, Any]
    root: str
    grants: tuple[Grant, ...]
    code: dict[str, Any] | None
    files: bool
    scratch: str
    timeout: float
    max_disk_mb: int
    max_files: int
    max_output: int

    @classmethod
    def read(cls, fd: int) -> Request:
        """Say that this process is ready, and wait for its one request."""
        framing.write_fd(fd, READY)
        return cls.of(framing.read_only_message(fd, MAX_REQUEST))

    @classmethod
    def of(cls, message: dict[str, Any]) -> Request:
        grants = tuple(Grant(path, writable) for path, writable in message.pop("grants"))
        return cls(grants=grants, **message)


def serve_sealed(runtime: lockdown.Runtime, parent: int) -> None:
    """A standby for calls that touch no file: every lock is on before the call is known.

    The zygote has made the ruleset: such calls have the same one.
    """
    lockdown.lock(runtime, lambda: RULESET, parent)
    rehearse_tools()
    answer(Request.read(CHANNEL), NOTHING)


def serve_open(runtime: lockdown.Runtime, parent: int) -> None:
    """A standby for calls with folders: the locks are completed when the call's folders are known.

    A folder may have gone, or have been closed to us, since the worker looked.
    """
    rehearse()
    request = Request.read(CHANNEL)
    found = loaded(request.entrypoint)
    grants = () if found is not None and found.scratch_only else request.grants
    code = tuple(Grant(place, writable=False) for place in code_places(request))
    scratch = namespaces.SCRATCH if runtime.namespaces and request.files else request.scratch
    quota = (request.max_disk_mb, request.max_files) if request.files else None
    try:
        lockdown.isolate(runtime, (*grants, *code), quota)
        lockdown.lock(runtime, lambda: lockdown.ruleset(runtime, (*grants, *code), scratch), parent)
    except OSError as error:
        decline(f"The call's folders could not be put behind the locks, so nothing was run: {error}"[:_MAX_MESSAGE])
        return
    answer(request, Access(grants, scratch))


def serve_unlocked(ceilings: Sequence[tuple[int, int]]) -> None:
    """Tier T0: rlimits only. The helpers still refuse paths outside the folders; nothing else does."""
    for which, ceiling in ceilings:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(which, (ceiling, ceiling))
    request = Request.read(CHANNEL)
    found = loaded_or_imported(request.entrypoint)
    if found is not None and found.scratch_only:
        decline("This tool runs code that nobody reviewed, so it needs a machine that can confine it (tier T1 or T2).")
        return
    answer(request, Access(request.grants, request.scratch))


@dataclass(frozen=True)
class Access:
    """The folders that this call ended up with."""

    grants: tuple[Grant, ...] = ()
    scratch: str = ""


NOTHING = Access()


def code_places(request: Request) -> tuple[str, ...]:
    """The files and folders of a tool's code that must be readable because the zygote has not imported it."""
    code = request.code
    return () if code is None else (*code["folders"], *([code["file"]] if not code["folders"] else []))


class OneModuleFinder:
    """Finds one top-level module by its place, because the folder that it lies in can't be listed from inside."""

    def __init__(self, name: str, file: str, folders: list[str]) -> None:
        self.name, self.file, self.folders = name, file, folders

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        if self.file:
            return spec_from_file_location(name, self.file, submodule_search_locations=self.folders or None)
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = self.folders
        return spec


def loaded(entrypoint: str) -> type[Tool[Any, Any]] | None:
    """The tool's class if its module was imported already, in the zygote."""
    module, _, name = entrypoint.partition(":")
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) and issubclass(found, Tool) else None


def loaded_or_imported(entrypoint: str) -> type[Tool[Any, Any]] | None:
    """The tool's class, imported if need be; None when it can't be, which `answer` then tells."""
    with contextlib.suppress(ToolError):
        return resolve(entrypoint)
    return None


def decline(message: str) -> None:
    """Answer that nothing was run."""
    head = {"ok": False, "kind": str(FailureKind.UNENFORCEABLE), "message": message}
    framing.write_fd(CHANNEL, framing.encode(head) + framing.pack(b""))


def resolve(entrypoint: str) -> type[Tool[Any, Any]]:
    """The tool's class.

    Raises:
        ToolError: there is no such module or class, or it is not a tool.
    """
    module, _, name = entrypoint.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, OSError) as error:
        raise ToolError(f"The tool's code {entrypoint} can't be loaded: {error}") from None
    if not (isinstance(found, type) and issubclass(found, Tool)):
        raise ToolError(f"{entrypoint} is not a tool.")
    return found


def answer(request: Request, access: Access, channel: int = CHANNEL) -> None:
    """Run the tool and send the one answer: a head, and for a success the value."""
    files = FileAccess(request.root, access.grants)
    output = Output(request.max_output)
    sys.stdout = sys.stderr = output
    report = witness.report
    report.watch((*(g.path for g in access.grants), *code_places(request), access.scratch))
    head: dict[str, Any] = {}
    value = b""
    try:
        if request.code is not None:
            sys.meta_path.append(OneModuleFinder(**request.code))
        tool = resolve(request.entrypoint)()
        context = ToolContext(files, Deadline.after(request.timeout), access.scratch, open_http=_opener())
        value = orjson.dumps(tool.execute(request.arguments, context))
        head["ok"] = True
    except BaseException as error:  # noqa: BLE001 -- whatever the tool raises is its answer
        head = _failure(error)
    seen = [*report.seen, *([Attempt(AttackClass.FILESYSTEM, head["message"])] if head.get("outside") else [])]
    head |= {
        "output": output.getvalue(),
        "violations": [[str(each.attack_class), each.detail, each.grave] for each in seen],
        "read": files.counters.read,
        "written": files.counters.written,
    }
    framing.write_fd(channel, framing.encode(head) + framing.pack(value))


class _RehearsalArguments(ToolArguments):
    text: str = Field(max_length=10)


class _RehearsalResult(ToolResult):
    text: str


class _Rehearsal(Tool[_RehearsalArguments, _RehearsalResult]):
    """The tool of the rehearsal."""

    name = "rehearsal"
    description = "Does nothing."
    reversibility = Reversibility.READ_ONLY
    rehearsal = {"text": "x"}  # noqa: RUF012 -- declared as a ClassVar by Tool
    Arguments = _RehearsalArguments
    Result = _RehearsalResult

    def run(self, arguments: _RehearsalArguments, context: ToolContext) -> _RehearsalResult:
        return _RehearsalResult(text=f"{arguments.text}{context.deadline.remaining():.0f}")

    def describe(self, arguments: _RehearsalArguments) -> str:
        return arguments.text


def rehearse() -> None:
    """Go through a whole call with a tool that does nothing, so that its memory pages are this process's own by now.

    A forked process pays for every page that it first writes to; a standby child pays before it is asked.
    """
    _rehearse_with(_Rehearsal)


def practise() -> None:
    """The rehearsals of the zygote, of which every child takes over what they left behind.

    The interpreter has rewritten its code for what it met, and the audit hook is in its place: each child would do the
    same, in memory of its own. The tool of the rehearsal only: the zygote has no locks on.
    """
    kept = sys.stdout, sys.stderr
    for _ in range(_PRACTICE):
        rehearse()
    sys.stdout, sys.stderr = kept
    witness.report.rest()


def rehearse_tools() -> None:
    """The same with the built-in tools that say how. Only in a standby whose locks are on, with nothing in reach."""
    for tool in _rehearsable() or [_Rehearsal]:
        _rehearse_with(tool)


def _rehearsable() -> list[type[Tool[Any, Any]]]:
    """Nothing that was not approved runs: only our own tools that take nothing from outside and change nothing."""
    return [
        tool
        for tool in Tool.__subclasses__()
        if tool.__module__.startswith("agents.tools.")
        and tool.rehearsal is not None
        and tool.reversibility is Reversibility.READ_ONLY
        and not tool.permissions
    ]


def _rehearse_with(tool: type[Tool[Any, Any]]) -> None:
    message: dict[str, Any] = {
        "tool": "rehearsal",
        "entrypoint": f"{tool.__module__}:{tool.__name__}",
        "arguments": dict(tool.rehearsal or {}),
        "root": "/",
        "grants": [],
        "code": None,
        "files": False,
        "scratch": "",
        "timeout": 1.0,
        "max_disk_mb": 1,
        "max_files": 1,
        "max_output": 10,
    }
    null = os.open("/dev/null", os.O_WRONLY)
    answer(Request.of(framing.decode(orjson.dumps(message))), NOTHING, null)
    os.close(null)


def _opener() -> Any:
    client: list[httpx.Client] = []

    def open_http() -> httpx.Client:
        if not client:
            client.append(httpx.Client(transport=BrokerTransport(EGRESS), trust_env=False, timeout=None))  # noqa: S113
        return client[0]

    return open_http


def _failure(error: BaseException) -> dict[str, Any]:
    """How an exception is told to the worker. `outside` marks a path that the file helper refused."""
    kind = FailureKind.TOOL_ERROR
    extra: dict[str, Any] = {}
    match error:
        case FileRefusedError():
            kind, extra = FailureKind.VIOLATION, {"outside": True}
        case InvalidArgumentsError():
            kind = FailureKind.INVALID_ARGUMENTS
        case InvalidResultError():
            kind = FailureKind.INVALID_RESULT
        case EgressError():
            kind, extra = FailureKind(error.kind), {"retry_after": error.retry_after}
        case MemoryError():
            return {"ok": False, "kind": str(FailureKind.RESOURCES), "message": "The tool ran out of memory."}
        case OSError(errno=code) if code in _FULL:
            kind = FailureKind.RESOURCES
        case OSError(errno=code) if code in _FORBIDDEN:
            kind = FailureKind.VIOLATION
        case TypeError() if isinstance(error, orjson.JSONEncodeError):
            kind = FailureKind.INVALID_RESULT
    return {"ok": False, "kind": str(kind), "message": _text(error), **extra}


def _text(error: BaseException) -> str:
    """The exception as one sentence; the class is named unless the tool wrote the message for people."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 -- the exception is the tool's own class
        text = ""
    text = text.encode("utf-8", "replace").decode()[:_MAX_MESSAGE]
    return (
        text
        if isinstance(error, ToolError | EgressError) and text
        else f"{type(error).__name__}: {text}"[:_MAX_MESSAGE]
    )


class Output(io.StringIO):
    """What the tool prints, up to a number of characters; the rest is counted and dropped."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.room = limit
        self.dropped = 0

    def write(self, text: str) -> int:
        kept = text[: max(0, self.room)]
        self.room -= len(kept)
        self.dropped += len(text) - len(kept)
        super().write(kept.encode("utf-8", "replace").decode())
        return len(text)

    def getvalue(self) -> str:
        rest = f"\n… {self.dropped} more characters" if self.dropped else ""
        return super().getvalue() + rest


def keep_only(keep: Sequence[int]) -> None:
    """Put these on descriptors 3 and up, the null device on 0 to 2, and close everything else."""
    null = os.open("/dev/null", os.O_RDWR)
    spare = [os.dup(fd) for fd in (null, null, null, *keep)]
    high = [os.dup2(fd, 200 + i) for i, fd in enumerate(spare)]
    for target, fd in enumerate(high):
        os.dup2(fd, target, inheritable=False)
    syscalls.close_from(CHANNEL + len(keep))
