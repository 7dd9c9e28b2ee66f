"""Hostile tool code: one function an attack, each telling what the kernel said. Imported by the sandbox's child."""

# Hostile code does as it likes.
# ruff: noqa: PTH101, PTH102, PTH104, PTH108, PTH123, PTH208, PTH211, S103, S605, S606, S607, BLE001, SIM105, SIM117, PLC0415, E501

from __future__ import annotations

import ctypes
import errno
import gc
import io
import json
import mmap
import os
import pickle
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from agents.sandbox import framing
from agents.tools.base import Reversibility, Tool, ToolArguments, ToolContext, ToolResult

libc = ctypes.CDLL(None, use_errno=True)


class AttackArguments(ToolArguments):
    name: str
    args: dict[str, Any] = Field(default_factory=dict)


class AttackResult(ToolResult):
    value: Any


class Attack(Tool[AttackArguments, AttackResult]):
    name: ClassVar[str] = "attack"
    description: ClassVar[str] = "Attacks."
    reversibility: ClassVar[Reversibility] = Reversibility.READ_ONLY
    Arguments = AttackArguments
    Result = AttackResult

    def run(self, arguments: AttackArguments, context: ToolContext) -> AttackResult:
        return AttackResult(value=globals()[arguments.name](context, **arguments.args))

    def describe(self, arguments: AttackArguments) -> str:
        return arguments.name


def said(attempt: Any) -> str:
    """The errno's name that an attempt met, or "ALLOWED"."""
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "ALLOWED"


def raw(number: int, *args: Any) -> None:
    if libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in args)) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def fine(_: ToolContext) -> str:
    return "fine"


# --- files ---------------------------------------------------------------------------------------------------------


def read(_: ToolContext, path: str) -> str:
    return said(lambda: Path(path).read_bytes())


def text(_: ToolContext, path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def safe_read(context: ToolContext, path: str) -> str:
    return context.files.read_bytes(path, 1000)[0].decode()


def safe_write(context: ToolContext, path: str, text: str = "x") -> bool:
    return context.files.write_bytes(path, text.encode())


def write(_: ToolContext, path: str, size: int = 1) -> str:
    return said(lambda: Path(path).write_bytes(b"x" * size))


def read_relative(_: ToolContext, root: str, path: str) -> str:
    os.chdir(root)
    return read(_, path)


def make(_: ToolContext, kind: str, path: str, target: str = "") -> str:
    attempts = {
        "symlink": lambda: os.symlink(target, path),
        "link": lambda: os.link(target, path),
        "fifo": lambda: os.mkfifo(path),
        "char": lambda: os.mknod(path, 0o20600, os.makedev(1, 3)),
        "block": lambda: os.mknod(path, 0o60600, os.makedev(8, 0)),
        "socket": lambda: socket.socket(socket.AF_UNIX).bind(path),
        "folder": lambda: os.mkdir(path),
    }
    return said(attempts[kind])


def change(_: ToolContext, path: str) -> dict[str, str]:
    return {
        "write": said(lambda: os.close(os.open(path, os.O_WRONLY))),
        "truncate": said(lambda: os.truncate(path, 0)),
        "O_TRUNC": said(lambda: os.close(os.open(path, os.O_RDONLY | os.O_TRUNC))),
        "ftruncate": said(lambda: os.ftruncate(os.open(path, os.O_RDONLY), 0)),
        "chmod": said(lambda: os.chmod(path, 0o777)),
        "fchmod": said(lambda: os.fchmod(os.open(path, os.O_RDONLY), 0o777)),
        "chown": said(lambda: os.chown(path, 0, 0)),
        "setxattr": said(lambda: os.setxattr(path, "user.x", b"y")),
        "utime": said(lambda: os.utime(path, (0, 0))),
        "unlink": said(lambda: os.unlink(path)),
        "rename": said(lambda: os.rename(path, path + ".moved")),
    }


def exists(_: ToolContext, path: str) -> bool:
    return Path(path).exists()


def descriptors(_: ToolContext) -> list[int]:
    def is_open(fd: int) -> bool:
        try:
            os.fstat(fd)
        except OSError:
            return False
        return True

    return [fd for fd in range(512) if is_open(fd)]


def sparse(_: ToolContext, path: str) -> str:
    with open(path, "wb") as stream:
        return said(lambda: os.truncate(stream.fileno(), 1 << 40))


def endless_write(_: ToolContext, path: str) -> str:
    def attempt() -> None:
        with open(path, "wb", buffering=0) as stream:
            while True:
                stream.write(b"x" * 65536)

    return said(attempt)


def fill_raising(_: ToolContext, path: str) -> None:
    with open(path, "wb", buffering=0) as stream:
        while True:
            stream.write(b"x" * (1 << 20))


def many_files(_: ToolContext, folder: str, count: int) -> int:
    for i in range(count):
        Path(folder, f"f{i}").write_bytes(b"")
    time.sleep(3)
    return count


def fill(_: ToolContext, folder: str, megabytes: int) -> str:
    def attempt() -> None:
        for i in range(megabytes):
            Path(folder, f"m{i}").write_bytes(b"x" * (1 << 20))

    return said(attempt)


def scratch_bomb(context: ToolContext, count: int) -> str:
    def attempt() -> None:
        for i in range(count):
            Path(context.scratch, f"f{i}").write_bytes(b"x")

    return said(attempt)


def scratch(context: ToolContext) -> dict[str, Any]:
    before = os.listdir(context.scratch)
    Path(context.scratch, "left").write_text("x")
    return {"before": before, "path": context.scratch}


def zip_bomb(_: ToolContext) -> int:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("zeros", "w") as member:
            for _i in range(400):
                member.write(b"\0" * (1 << 20))
    return len(zipfile.ZipFile(packed).read("zeros"))


def race(context: ToolContext, path: str, secret: str, seconds: float) -> dict[str, int]:
    """Open a name that somebody outside keeps swapping between a file and a link to `secret`."""
    counts = {"opened": 0, "refused": 0, "escaped": 0}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            data = context.files.read_bytes(path, 100)[0].decode()
        except Exception:
            counts["refused"] += 1
        else:
            counts["escaped" if secret in data else "opened"] += 1
    return counts


# --- processes and memory ------------------------------------------------------------------------------------------


def environment(_: ToolContext) -> dict[str, str]:
    return dict(os.environ)


def find_in_memory(_: ToolContext, pattern: str) -> int:
    """How many strings of the interpreter match: what a forked worker's child would find its secrets by."""
    found = 0
    wanted = re.compile(pattern)
    for thing in gc.get_objects():
        if isinstance(thing, dict):
            found += sum(1 for v in list(thing.values()) if isinstance(v, str) and len(v) < 200 and wanted.search(v))
    return found


def import_module(_: ToolContext, name: str) -> str:
    try:
        __import__(name)
    except BaseException as error:
        return type(error).__name__
    return "IMPORTED"


def run_programs(_: ToolContext) -> dict[str, str]:
    return {
        "fork": said(os.fork),
        "vfork": said(lambda: subprocess.run(["/bin/true"], check=False)),
        "posix_spawn": said(lambda: os.posix_spawn("/bin/true", ["true"], {})),
        "execve": said(lambda: os.execv("/bin/true", ["true"])),
        "system": "ALLOWED" if os.system("true") == 0 else "EPERM",
        "memfd": said(lambda: os.memfd_create("x")),
        "clone": said(lambda: raw(56 if os.uname().machine == "x86_64" else 220, 17, 0, 0, 0, 0)),
        "clone3": said(lambda: raw(435, ctypes.create_string_buffer(88), 88)),
        "clone_newuser": said(lambda: raw(56 if os.uname().machine == "x86_64" else 220, 0x10000000 | 17, 0, 0, 0, 0)),
    }


def memory_file(_: ToolContext) -> str:
    return said(lambda: os.memfd_create("x"))


def threads(_: ToolContext, count: int) -> int:
    started = 0
    stop = threading.Event()
    try:
        for _i in range(count):
            threading.Thread(target=stop.wait, daemon=True).start()
            started += 1
    except RuntimeError:
        pass
    stop.set()
    return started


def small_threads(_: ToolContext, count: int) -> int:
    """Threads with stacks so small that the memory limit lets thousands of them start."""
    threading.stack_size(32768)
    stop = threading.Event()
    started = 0
    for _i in range(count):
        try:
            threading.Thread(target=stop.wait, daemon=True).start()
        except RuntimeError:
            break
        started += 1
    time.sleep(10)
    return started


def memory(_: ToolContext, how: str) -> str:
    if how == "bytearray":
        return str(len(bytearray(1 << 30)))
    if how == "mmap":
        return said(lambda: mmap.mmap(-1, 1 << 30))
    grown: list[bytes] = []
    while True:
        grown.append(os.urandom(1 << 20))


def spin(_: ToolContext, *, ignore: bool = False) -> None:
    if ignore:
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True:
        pass


def regex(_: ToolContext) -> None:
    re.match(r"(a+)+$", "a" * 60 + "b")


def power(_: ToolContext) -> int:
    return len(str(10 ** (10**7)))


def sleep(_: ToolContext, seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


def die(_: ToolContext, how: str) -> None:
    if how == "segv":
        ctypes.string_at(0)
    elif how == "exit":
        os._exit(0)
    elif how == "abort":
        os.abort()
    elif how == "sys_exit":
        sys.exit(3)
    elif how == "recursion":
        die(_, how)
    elif how == "close":
        os.close(3)
        time.sleep(5)


def open_many(_: ToolContext) -> str:
    kept: list[Any] = []

    def attempt() -> None:
        while True:
            kept.append(os.open("/dev/null", os.O_RDONLY))

    return said(attempt)


def raise_limits(_: ToolContext) -> dict[str, str]:
    def limit(which: int) -> str:
        soft, hard = resource.getrlimit(which)
        try:
            resource.setrlimit(which, (soft, hard))
        except (OSError, ValueError) as error:
            return type(error).__name__
        return "ALLOWED"

    return {"setrlimit": limit(resource.RLIMIT_CPU), "prlimit": said(lambda: resource.prlimit(0, 7, (9, 9)))}


def touch_others(_: ToolContext, pid: int) -> dict[str, str]:
    x86 = os.uname().machine == "x86_64"
    parent = os.getppid() or pid
    return {
        "kill": said(lambda: os.kill(pid, 0)),
        "kill_all": said(lambda: os.kill(-1, 0)),
        "tgkill": said(lambda: raw(234 if x86 else 131, pid, pid, 0)),
        "ptrace": said(lambda: raw(101 if x86 else 117, 16, parent, 0, 0)),
        "process_vm_readv": said(lambda: raw(310 if x86 else 270, parent, 0, 0, 0, 0, 0)),
        "pidfd_open": said(lambda: raw(434, pid, 0)),
        "environ": said(lambda: Path(f"/proc/{pid}/environ").read_bytes()),
        "mem": said(lambda: open("/proc/self/mem", "rb").read(1)),
        "maps": said(lambda: Path("/proc/self/maps").read_bytes()),
    }


def kernel_calls(_: ToolContext) -> dict[str, str]:
    x86 = os.uname().machine == "x86_64"
    return {
        "unshare": said(lambda: raw(272 if x86 else 97, 0x10000000)),
        "mount": said(lambda: raw(165 if x86 else 40, b"none", b"/", b"tmpfs", 0, 0)),
        "setns": said(lambda: raw(308 if x86 else 268, 0, 0)),
        "io_uring_setup": said(lambda: raw(425, 1, 0)),
        "bpf": said(lambda: raw(321 if x86 else 280, 0, 0, 0)),
        "keyctl": said(lambda: raw(250 if x86 else 219, 0, 0)),
        "prctl_dumpable": said(lambda: raw(157 if x86 else 167, 4, 1)),
        "prctl_deathsig": said(lambda: raw(157 if x86 else 167, 1, 0)),
        "personality": said(lambda: raw(135 if x86 else 92, 0x0040000)),
        "shmget": said(lambda: raw(29 if x86 else 194, 0, 4096, 0o1600)),
        "openat2": said(lambda: raw(437, -100, b"/", 0, 24)),
        "unknown": said(lambda: raw(4999)),
    }


def x32(_: ToolContext) -> None:
    raw(0x40000000 | 39)


def persist(_: ToolContext, path: str) -> str:
    """Try to outlive the call: a thread that writes after the answer, and an exit handler."""
    import atexit

    atexit.register(lambda: Path(path).write_text("alive"))

    def later() -> None:
        time.sleep(0.3)
        Path(path).write_text("alive")

    threading.Thread(target=later).start()
    return "answered"


def poison(_: ToolContext) -> str:
    json.dumps = lambda *_a, **_k: "poisoned"
    os.getpid = lambda: 1
    return "poisoned"


def poisoned(_: ToolContext) -> bool:
    return json.dumps(1) == "poisoned" or os.getpid() == 1


# --- the answer ----------------------------------------------------------------------------------------------------


class _Bomb:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/routekit-pickled",)


def forge(_: ToolContext, what: str) -> None:
    """Write to the channel instead of returning."""
    head = framing.encode({"ok": True, "output": "", "violations": [], "read": 0, "written": 0})
    pieces = {
        "pickle": framing.pack(pickle.dumps(_Bomb())),
        "huge": struct.pack("!I", 0xFFFFFFFF),
        "huge_value": head + struct.pack("!I", 0x7FFFFFFF) + b"x" * 4096,
        "deep": head + framing.pack(b"[" * 100_000 + b"]" * 100_000),
        "nested": head + framing.pack(b'{"value": ' + b"[" * 900 + b"]" * 900 + b"}"),
        "nan": head + framing.pack(b'{"value": NaN}'),
        "latin": head + framing.pack(b'{"value": "\xff"}'),
        "list": framing.pack(b"[1]"),
        "wrong_shape": head + framing.pack(b'{"other": 1}'),
        "lying_usage": framing.encode({"ok": True, "read": -5, "written": "x", "violations": [["nonsense", 1]]})
        + framing.pack(b'{"value": 1}'),
        "bad_head": framing.encode({"ok": False, "kind": "nonsense", "message": 7, "violations": "x"})
        + framing.pack(b""),
    }
    try:
        framing.write_fd(3, pieces[what])
    except OSError:
        pass
    time.sleep(10)


def dribble(_: ToolContext, folder: str = "") -> None:
    """Announce a long answer and send it byte by byte, so that the worker always has something to read."""
    os.write(3, struct.pack("!I", 100_000))
    for i in range(100_000):
        os.write(3, b" ")
        if folder:
            Path(folder, f"f{i}").write_bytes(b"")
        time.sleep(0.002)


def large(_: ToolContext, size: int) -> str:
    return "x" * size


def odd(_: ToolContext, what: str) -> Any:
    return {"nan": float("nan"), "keys": {1: 2}, "surrogate": "\udcff", "object": object(), "bytes": b"\xff"}[what]


def flood(_: ToolContext) -> str:
    for _i in range(2000):
        sys.stdout.write("x" * 1000 + "\n")
    os.write(1, b"to the worker's stdout")
    return "done"


def inject(_: ToolContext) -> str:
    sys.stdout.write("\x1b[31mred\x1b]0;title\x07\r\nERROR fake log line\n")
    raise ValueError("\x1b[2Jcleared\r\nfake")


def raising(_: ToolContext, kind: str) -> None:
    class Sly(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    raise {"value": ValueError("told"), "sly": Sly(), "base": KeyboardInterrupt(), "stop": GeneratorExit()}[kind]


# --- network -------------------------------------------------------------------------------------------------------


def sockets(_: ToolContext) -> dict[str, str]:
    kinds = {
        "tcp": (socket.AF_INET, socket.SOCK_STREAM, 0),
        "udp": (socket.AF_INET, socket.SOCK_DGRAM, 0),
        "tcp6": (socket.AF_INET6, socket.SOCK_STREAM, 0),
        "mptcp": (socket.AF_INET, socket.SOCK_STREAM, 262),
        "icmp": (socket.AF_INET, socket.SOCK_RAW, 1),
        "packet": (socket.AF_PACKET, socket.SOCK_RAW, 3),
        "netlink": (socket.AF_NETLINK, socket.SOCK_RAW, 0),
        "vsock": (socket.AF_VSOCK, socket.SOCK_STREAM, 0),
        "unix": (socket.AF_UNIX, socket.SOCK_STREAM, 0),
        "unix_pair": (-1, 0, 0),
    }
    return {
        name: said(lambda k=kind: socket.socketpair() if k[0] == -1 else socket.socket(*k))
        for name, kind in kinds.items()
    }


def socket_calls(_: ToolContext) -> dict[str, str]:
    """On the descriptors that the child does have: the channel and the broker's."""
    x86 = os.uname().machine == "x86_64"
    address = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(80), bytes([127, 0, 0, 1]))
    unspecified = struct.pack("=H14x", 0)
    n = {
        "connect": 42, "sendto": 44, "bind": 49, "listen": 50, "accept": 43, "accept4": 288, "sendmsg": 46, "recvmsg": 47,
        "setsockopt": 54,
    } if x86 else {
        "connect": 203, "sendto": 206, "bind": 200, "listen": 201, "accept": 202, "accept4": 242, "sendmsg": 211,
        "recvmsg": 212, "setsockopt": 208,
    }  # fmt: skip
    return {
        "retarget": said(lambda: raw(n["connect"], 4, unspecified, 16)),
        "connect": said(lambda: raw(n["connect"], 4, address, 16)),
        "fastopen": said(lambda: raw(n["sendto"], 4, b"x", 1, 0x20000000, address, 16)),
        "sendto": said(lambda: raw(n["sendto"], 4, b"x", 1, 0, 0, 0)),
        "bind": said(lambda: raw(n["bind"], 4, address, 16)),
        "listen": said(lambda: raw(n["listen"], 4, 1)),
        "accept": said(lambda: raw(n["accept"], 4, 0, 0)),
        "accept4": said(lambda: raw(n["accept4"], 4, 0, 0, 0)),
        "sendmsg": said(lambda: raw(n["sendmsg"], 4, 0, 0)),
        "recvmsg": said(lambda: raw(n["recvmsg"], 4, 0, 0)),
        "setsockopt": said(lambda: raw(n["setsockopt"], 4, 1, 2, b"\1\0\0\0", 4)),
    }


def resolve(_: ToolContext) -> str:
    try:
        socket.getaddrinfo("localhost", 80)
    except OSError:
        return "REFUSED"
    return "ALLOWED"


def get(context: ToolContext, url: str, method: str = "GET", headers: dict[str, str] | None = None) -> dict[str, Any]:
    answer = context.http.request(method, url, headers=headers)
    return {"status": answer.status_code, "text": answer.text[:500]}


def get_many(context: ToolContext, url: str, count: int) -> dict[str, int]:
    passed = refused = 0
    for _i in range(count):
        try:
            context.http.get(url)
        except Exception:
            refused += 1
        else:
            passed += 1
    return {"passed": passed, "refused": refused}


def broker_garbage(_: ToolContext, what: str) -> str:
    pieces = {
        "policy": framing.encode(
            {"policy": {"allowed_hosts": ["*.com"]}, "method": "GET", "url": "http://a.com/", "headers": []}
        )
        + framing.pack(b""),
        "not_json": framing.pack(b"hello"),
        "huge": struct.pack("!I", 0xFFFFFFFF),
        "no_url": framing.encode({"method": "GET"}) + framing.pack(b""),
    }
    framing.write_fd(4, pieces[what])
    try:
        return str(framing.read_message(4, 1 << 20).get("error"))
    except EOFError:
        return "closed"
