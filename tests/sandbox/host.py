"""A worker for the attack tests: runs calls through the sandbox and prints their outcomes, one JSON line each.

`host.py T1` first makes itself what a container gives: an unprivileged user, and a filter that refuses namespaces.
`host.py T2 --unprivileged` only becomes another user, who may make namespaces.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import uuid
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agents import sandbox
from agents.sandbox import seccomp, syscall_table, syscalls
from agents.sandbox.outcome import Tier
from approvals.types import Permit

NOBODY = 65534
NAMESPACE_CALLS = ("mount", "unshare", "setns", "pivot_root", "open_tree", "move_mount", "fsopen", "umount2")


def reachable_python() -> None:
    """Let another user reach the interpreter where it lies in somebody's home folder: a view of our own, only here."""
    prefix = Path(sys.base_prefix)
    hidden = next((p for p in reversed(prefix.parents) if not p.stat().st_mode & 0o001), None)
    if hidden is None:
        return
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    handle = os.open(prefix, syscalls.O_PATH)
    syscalls.mount("tmpfs", str(hidden), "tmpfs", 0, "mode=755")
    prefix.mkdir(parents=True)
    syscalls.mount(f"/proc/self/fd/{handle}", str(prefix), "", syscalls.MS_BIND)
    os.close(handle)


def become_unprivileged() -> None:
    if os.getuid() == 0:
        reachable_python()
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


def refuse_namespaces() -> None:
    allowed = tuple(n for n in syscall_table.BY_MACHINE[syscalls.MACHINE] if n not in (*NAMESPACE_CALLS, "clone3"))
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.load(container_filter(allowed))


def container_filter(allowed: tuple[str, ...]) -> bytes:
    tables = seccomp.RuleTables(allowed=allowed, conditional={}, refused=NAMESPACE_CALLS)
    program = seccomp.assemble(tables)
    unknown = b"\x06\x00\x00\x00" + (0x00050000 | 38).to_bytes(4, "little")
    return program.replace(unknown, b"\x06\x00\x00\x00" + 0x7FFF0000.to_bytes(4, "little"))


def permit_for(call: sandbox.SandboxCall, tenant: int = 1) -> Permit:
    return Permit(
        id=uuid.uuid4(),
        tenant_id=tenant,
        run_id=uuid.uuid4(),
        call_id=call.call_id,
        tool=call.tool,
        arguments_digest=sandbox.arguments_digest(call.arguments),
        digest="",
        nonce=uuid.uuid4().hex,
        gate_id=None,
        expires_at=datetime.now(UTC) + timedelta(minutes=5),
    )


def serve(request: dict[str, Any]) -> dict[str, Any]:
    call = sandbox.SandboxCall(
        call_id=str(uuid.uuid4()),
        tool=request["tool"],
        entrypoint=request["entrypoint"],
        arguments=request["arguments"],
        permissions=frozenset(request["permissions"]),
        trusted_in_process=False,
        result_schema=request["schema"],
    )
    try:
        policy = sandbox.SandboxPolicy.model_validate(request["policy"])
    except ValidationError as error:
        return {"succeeded": False, "kind": "policy", "message": str(error), "violations": [], "usage": {}}
    outcome = sandbox.run(permit_for(call, request["tenant"]), call, policy)
    found = asdict(outcome)
    found["enforced"] = sorted(found["enforced"])
    return {**found, "succeeded": isinstance(outcome, sandbox.Succeeded)}


def main(tier: str) -> None:
    report = sandbox.start(preload=["tests.sandbox.attacks", "tests.sandbox.further_attacks"], ceiling=Tier(tier))
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    lock = threading.Lock()
    out.write(json.dumps({"tier": report.tier, "uid": os.getuid(), "pid": os.getpid()}) + "\n")
    out.flush()

    def one(request: dict[str, Any]) -> None:
        answer = json.dumps({"id": request["id"], "outcome": serve(request)})
        with lock:
            out.write(answer + "\n")
            out.flush()

    for line in sys.stdin:
        threading.Thread(target=one, args=(json.loads(line),)).start()


if __name__ == "__main__":
    if "--inside" not in sys.argv and (sys.argv[1] == "T1" or "--unprivileged" in sys.argv):
        become_unprivileged()
        if sys.argv[1] == "T1":
            refuse_namespaces()
        os.environ["HOME"] = "/nonexistent"
        os.execv(sys.executable, [sys.executable, __file__, sys.argv[1], "--inside"])  # noqa: S606 -- this program
    main(sys.argv[1])
