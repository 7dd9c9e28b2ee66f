"""One call in a child process: hand it over, watch clock, disk and cancellation, judge what comes back."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from agents.sandbox import framing
from agents.sandbox.errors import ProtocolError, SandboxUnavailableError, StandbyLostError
from agents.sandbox.framing import MessageTooLargeError
from agents.sandbox.outcome import (
    RETRYABLE,
    AttackClass,
    Attempt,
    Failed,
    FailureKind,
    Outcome,
    Succeeded,
    Usage,
    Violation,
)
from agents.sandbox.pool import cpu_seconds, peak_memory, thread_count
from agents.sandbox.quota import DiskWatch, QuotaError
from agents.sandbox.results import Head, nested_deeper_than, problem_with, safe_text

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from agents.sandbox.plan import Plan
    from agents.tools.limits import ResourceLimits

HEAD_LIMIT = 256 << 10
BYTES_PER_CHARACTER = 6  # in JSON, at worst
SLICE = 0.02
WAKEFUL = 0.0008  # seconds since the call began, within which the answer of a trivial tool comes
MAX_THREADS = 64
MAX_NESTING = 200
KILL_GRACE = 1.0
READY_TIMEOUT = 20.0
_HARD_CPU_GRACE = 1
_LOST = "The sandbox's process ended before it was asked for anything; nothing was run."
_CHANGED = "What the call acts on has changed since it was looked at; nothing was run."
_CHUNK = 64 << 10  # below the size for which malloc asks the kernel for a mapping of its own
MB = 1 << 20


class _StoppedError(Exception):
    """The worker ended the call."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ChildProcess(Protocol):
    """A process that waits for one call: a standby child, or a subprocess at tier T0."""

    channel: socket.socket

    @property
    def pid(self) -> int: ...
    def kill(self) -> None: ...
    def living(self) -> bool: ...
    def ended(self, timeout: float) -> bool: ...


@dataclass
class Confined:
    """One call that is running in `child`. `obituary` tells how the child ended, once it has."""

    plan: Plan
    tenant_id: int
    child: ChildProcess
    address_space: int
    obituary: Callable[[int], Mapping[str, Any]]
    cancelled: Callable[[], bool] | None
    started: float = field(default_factory=time.monotonic)
    limited: bool = False
    cpu_before: float = 0.0
    buffer: bytearray = field(default_factory=bytearray)
    look_at: float = 0.0

    def run(self, scratch: str) -> Outcome:
        """Send the request, wait, and turn whatever happens into an outcome. The child is dead when this returns."""
        disk = DiskWatch((*self.plan.writable(), *([scratch] if scratch else [])), self.plan.limits)
        try:
            self._wait_until_ready()
            if not self.limited:
                limit(self.child.pid, self.plan.limits, self.address_space)
            self.cpu_before = cpu_seconds(self.child.pid)
            if not self.plan.call.unchanged():
                raise SandboxUnavailableError(_CHANGED)
            head, value = self._exchange(scratch, disk)
            disk.check()
            usage = self._usage_of_living(head)
            self.child.kill()  # its end takes another core's time while this one judges what it said
        except _StoppedError as stop:
            return self._failed(stop.kind, str(stop), self._usage_of_dead())
        except QuotaError as over:
            usage = self._usage_of_dead()
            disk.clean_up()
            return self._failed(FailureKind.RESOURCES, str(over), usage, [Attempt(AttackClass.RESOURCES, str(over))])
        except MessageTooLargeError:
            message = f"The result is larger than {self.plan.limits.max_result_kb} KB."
            return self._failed(FailureKind.RESULT_TOO_LARGE, message, self._usage_of_living())
        except ProtocolError:
            attacks = [Attempt(AttackClass.PROTOCOL, "the answer was not a message", grave=True)]
            message = "The tool's process answered with something that is not an answer."
            return self._failed(FailureKind.INVALID_RESULT, message, self._usage_of_living(), attacks)
        except (EOFError, OSError):
            return self._died()
        return self._judge(head, value, usage)

    def _wait_until_ready(self) -> None:
        """A standby child that is still putting its locks on must not have its limits yet.

        Raises:
            StandbyLostError: it ended before it was ready; no tool code has run.
            SandboxUnavailableError: it is still not ready.
        """
        self.child.channel.settimeout(READY_TIMEOUT)
        try:
            ready = self.child.channel.recv(1)
        except TimeoutError:
            raise SandboxUnavailableError("The sandbox's process did not come up; nothing was run.") from None
        except OSError:
            ready = b""
        if not ready or not self.child.living():
            raise StandbyLostError(_LOST)

    def _request(self, scratch: str) -> bytes:
        plan, limits = self.plan, self.plan.limits
        return framing.encode(
            {
                "tool": plan.call.tool,
                "entrypoint": plan.call.entrypoint,
                "arguments": dict(plan.call.arguments),
                "root": plan.root,
                "grants": [[g.path, g.writable] for g in plan.grants],
                "code": asdict(plan.code) if plan.code else None,
                "files": plan.files,
                "scratch": scratch,
                "timeout": limits.timeout,
                "max_disk_mb": limits.max_disk_mb,
                "max_files": limits.max_files,
                "max_output": limits.max_output_kb * 1024,
            }
        )

    def _exchange(self, scratch: str, disk: DiskWatch) -> tuple[Head, bytes]:
        deadline = self.started + self.plan.limits.timeout
        self.child.channel.settimeout(self.plan.limits.timeout)
        with contextlib.suppress(TimeoutError):
            try:
                self.child.channel.sendall(self._request(scratch))
            except BrokenPipeError:
                raise StandbyLostError(_LOST) from None
        self.child.channel.setblocking(False)  # noqa: FBT003 -- the socket module's own signature
        self.look_at = time.monotonic() + SLICE
        largest = HEAD_LIMIT + self.plan.limits.max_output_kb * 1024 * BYTES_PER_CHARACTER
        head = Head.parse(self._piece(largest, deadline, disk))
        return head, self._piece(self.plan.limits.max_result_kb * 1024, deadline, disk)

    def _piece(self, largest: int, deadline: float, disk: DiskWatch) -> bytes:
        self._fill(framing.HEADER_SIZE, deadline, disk)
        length = framing.length_of(bytes(self.buffer[: framing.HEADER_SIZE]), largest)
        end = framing.HEADER_SIZE + length
        self._fill(end, deadline, disk)
        piece = bytes(self.buffer[framing.HEADER_SIZE : end])
        del self.buffer[:end]
        return piece

    def _fill(self, count: int, deadline: float, disk: DiskWatch) -> None:
        poll = select.poll()
        poll.register(self.child.channel.fileno(), select.POLLIN)
        while len(self.buffer) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                message = f"The tool did not finish within {self.plan.limits.timeout:g} seconds and was stopped."
                raise _StoppedError(FailureKind.TIMEOUT, message)
            if self._comes_at_once(poll) or poll.poll(max(1, int(min(left, SLICE) * 1000))):
                chunk = self.child.channel.recv(_CHUNK)
                if not chunk:
                    raise EOFError
                self.buffer += chunk
            self._look_after(disk)

    def _comes_at_once(self, poll: select.poll) -> bool:
        """Look for the answer of a quick tool without going to sleep: a core that dozed off wakes up late.

        Whoever else wants this core gets it at each look.
        """
        while time.monotonic() - self.started < WAKEFUL:
            if poll.poll(0):
                return True
            os.sched_yield()
        return False

    def _look_after(self, disk: DiskWatch) -> None:
        """See to what may end the call meanwhile, every `SLICE` seconds: a child that dribbles can't put it off."""
        if time.monotonic() < self.look_at:
            return
        if self.cancelled is not None and self.cancelled():
            raise _StoppedError(FailureKind.CANCELLED, "The call was cancelled and the tool was stopped.")
        if thread_count(self.child.pid) > MAX_THREADS:
            raise QuotaError(f"The tool started more than {MAX_THREADS} threads.")
        disk.check_now()
        self.look_at = time.monotonic() + SLICE

    def _judge(self, head: Head, value: bytes, usage: Usage) -> Outcome:
        output = safe_text(head.output, self.plan.limits.max_output_kb * 1024 + 100)
        attacks = head.attacks()
        if not head.ok:
            failed = self._failed(head.kind, safe_text(head.message, 2000, line=True), usage, attacks)
            return replace(failed, output=output, retry_after=head.retry_after)
        try:
            result = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            return self._failed(FailureKind.INVALID_RESULT, f"The result is not JSON: {error}", usage, attacks)
        if nested_deeper_than(MAX_NESTING, result, value):
            return self._failed(FailureKind.INVALID_RESULT, "The result is nested too deeply.", usage, attacks)
        if problem := problem_with(result, self.plan.call.result_schema):
            return self._failed(FailureKind.INVALID_RESULT, problem, usage, attacks)
        violations = self._violations(attacks)
        return Succeeded(result, self.plan.tier, self.plan.enforced, violations, usage, output)

    def _died(self) -> Failed:
        """The child ended without an answer: say why, from the kernel's word."""
        self.child.kill()
        end = self.obituary(self.child.pid)
        usage = self._usage_from(end)
        kind, message = cause_of_death(end.get("code"), usage.cpu_seconds, self.plan.limits.cpu_seconds)
        attack = {FailureKind.RESOURCES: AttackClass.RESOURCES, FailureKind.VIOLATION: AttackClass.PROCESS}.get(kind)
        grave = kind is FailureKind.VIOLATION
        return self._failed(kind, message, usage, [Attempt(attack, message, grave)] if attack else [])

    def _failed(self, kind: FailureKind, message: str, usage: Usage, attacks: list[Attempt] | None = None) -> Failed:
        violations = self._violations(attacks or [])
        return Failed(kind, message, kind in RETRYABLE, self.plan.tier, self.plan.enforced, violations, usage)

    def _violations(self, attacks: list[Attempt]) -> tuple[Violation, ...]:
        tool, tier = self.plan.call.tool, self.plan.tier
        return tuple(Violation(a.attack_class, a.detail, self.tenant_id, tool, tier, a.grave) for a in attacks)

    def _usage_of_living(self, head: Head | None = None) -> Usage:
        cpu = max(0.0, cpu_seconds(self.child.pid) - self.cpu_before)
        peak = peak_memory(self.child.pid)
        read, written = (head.read, head.written) if head else (0, 0)
        return Usage(cpu, time.monotonic() - self.started, peak, read, written)

    def _usage_of_dead(self) -> Usage:
        """Kill the child and wait until it is gone."""
        self.child.kill()
        self.child.ended(KILL_GRACE)
        return self._usage_from(self.obituary(self.child.pid))

    def _usage_from(self, end: Mapping[str, Any]) -> Usage:
        cpu = max(0.0, float(end.get("cpu", 0.0)) - self.cpu_before)
        return Usage(cpu, time.monotonic() - self.started, int(end.get("peak", 0)))


def limit(pid: int, limits: ResourceLimits, address_space: int) -> None:
    """Set a child's rlimits from outside, before it is told what to do; it can't change them back.

    `address_space` is what the child has mapped already: the memory limit counts what the tool adds. Limits that are
    the same for every call are the zygote's own, which its children inherit.
    """
    ceilings = {
        resource.RLIMIT_AS: address_space + limits.memory_mb * MB,
        resource.RLIMIT_FSIZE: limits.max_file_mb * MB,
        resource.RLIMIT_NOFILE: limits.max_open_files,
    }
    for which, ceiling in ceilings.items():
        resource.prlimit(pid, which, (ceiling, ceiling))
    resource.prlimit(pid, resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + _HARD_CPU_GRACE))


def cause_of_death(code: int | None, cpu: float, allowed_cpu: int) -> tuple[FailureKind, str]:
    """Kind and message for a child that ended without an answer; `code` as in `waitstatus_to_exitcode`."""
    if code == -signal.SIGXCPU or (code == -signal.SIGKILL and cpu >= allowed_cpu):
        return (
            FailureKind.RESOURCES,
            f"The tool used more than {allowed_cpu} seconds of processor time and was stopped.",
        )
    if code == -signal.SIGXFSZ:
        return FailureKind.RESOURCES, "The tool wrote a file larger than allowed and was stopped."
    if code == -signal.SIGSYS:
        return FailureKind.VIOLATION, "The tool made a system call of a foreign kind and was stopped."
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return FailureKind.KILLED, f"The tool's process crashed ({name})."
    return FailureKind.KILLED, "The tool's process ended without an answer."
