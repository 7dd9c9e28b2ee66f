from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from agents.sandbox import Tier, probe
from tests.sandbox.attacks import AttackResult

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]


@dataclass
class Host:
    """A worker process at one tier, see host.py; safe to use from several threads."""

    process: subprocess.Popen[str]
    tier: str
    uid: int
    pid: int
    ids: Iterator[int] = field(default_factory=itertools.count)
    lock: threading.Lock = field(default_factory=threading.Lock)
    answers: dict[int, Any] = field(default_factory=dict)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    @classmethod
    def start(cls, tier: str, *options: str, **environment: str) -> Host:
        env = {**os.environ, "PYTHONPATH": str(PROJECT), "ROUTEKIT_CANARY": "canary-in-the-environment", **environment}
        argv = [sys.executable, str(HERE / "host.py"), tier, *options]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd="/")
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            code = process.wait()
            process.stdin.close()
            process.stdout.close()
            raise RuntimeError(f"the host did not start: {code}")
        hello = json.loads(line)
        host = cls(process, hello["tier"], hello["uid"], hello["pid"])
        threading.Thread(target=host._listen, daemon=True).start()
        return host

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            with self.arrived:
                self.answers[message["id"]] = message["outcome"]
                self.arrived.notify_all()

    def run(
        self,
        name: str,
        /,
        policy: dict[str, Any] | None = None,
        permissions: tuple[str, ...] = (),
        tenant: int = 1,
        module: str = "attacks:Attack",
        **args: Any,
    ) -> SimpleNamespace:
        """Run one attack and wait for its outcome."""
        number = next(self.ids)
        request = {
            "id": number,
            "tool": "attack",
            "entrypoint": f"tests.sandbox.{module}",
            "arguments": {"name": name, "args": args},
            "permissions": permissions,
            "schema": AttackResult.model_json_schema(),
            "policy": policy or {},
            "tenant": tenant,
        }
        assert self.process.stdin is not None
        with self.lock:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        with self.arrived:
            assert self.arrived.wait_for(lambda: number in self.answers, timeout=120), "the host gave no answer"
            found = self.answers.pop(number)
        violations = [SimpleNamespace(**v) for v in found.pop("violations")]
        usage = SimpleNamespace(**found.pop("usage"))
        value = found.get("value")
        found["value"] = value["value"] if isinstance(value, dict) else value
        return SimpleNamespace(**found, violations=violations, usage=usage)

    def stop(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        finally:
            self.process.kill()
        self.process.stdout.close()


@pytest.fixture(scope="session", params=["T2", "T1"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A worker at T2, and one in what a container gives (T1: unprivileged, no namespaces)."""
    if request.param == "T2" and probe().tier is not Tier.T2:
        pytest.skip("this machine does not allow namespaces")
    started = Host.start(request.param)
    assert started.tier == request.param
    yield started
    started.stop()


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that the user of a T1 host may pass through.

    pytest's own lies below one that every other run of pytest by the same user closes to others when it starts.
    """
    with TemporaryDirectory(prefix="routekit-test-", ignore_cleanup_errors=True) as folder:
        place = Path(folder).resolve()
        place.chmod(0o711)
        yield place


@pytest.fixture
def root(host: Host, tmp_path: Path) -> Path:
    """The agent's folder, owned by the host's user."""
    folder = tmp_path / "root"
    folder.mkdir(mode=0o700)
    os.chown(folder, host.uid, -1)
    return folder


@pytest.fixture
def files(root: Path) -> dict[str, Any]:
    """Arguments of `Host.run` for a call with the filesystem permission in `root`."""
    return {"policy": {"filesystem": {"sandbox_root": str(root)}}, "permissions": ("filesystem",)}
