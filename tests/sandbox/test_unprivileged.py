"""T2 for a user who is not root: the namespaces, and the locks in them, need no privilege."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agents.sandbox import Tier, probe
from tests.sandbox.conftest import Host

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(probe().tier is not Tier.T2, reason="this machine does not allow namespaces")


def test_another_user_has_t2_too(tmp_path: Path) -> None:
    own = Host.start("T2", "--unprivileged")
    try:
        root = tmp_path / "shared"
        root.mkdir()
        root.chmod(0o777)
        (root / "inner").mkdir()
        (root / "inner").chmod(0o777)
        folders = {"sandbox_root": str(root), "read_only_paths": [str(root / "inner")]}
        calls = {"filesystem": folders}
        files = ("filesystem",)
        assert own.run("safe_write", policy=calls, permissions=files, path="a.txt").value is True
        assert own.run("write", policy=calls, permissions=files, path=f"{root}/inner/b").value in ("EROFS", "EACCES")
        assert own.run("exists", policy=calls, permissions=files, path="/etc/passwd").value is False
        assert own.run("fine").tier == "T2"
        assert set(own.run("sockets").value.values()) <= {"EPERM", "EACCES"}
        assert own.run("sleep", seconds=30, policy={"limits": {"timeout": 0.3}}).kind == "timeout"
        assert own.run("memory", how="list", policy={"limits": {"memory_mb": 64}}).kind == "resources"
    finally:
        own.stop()
