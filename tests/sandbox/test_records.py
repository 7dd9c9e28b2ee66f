"""Each row of the attack list that can be seen leaves a record: class, tenant, tool and tier, at T2 and at T1."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.conftest import Host

TENANT = 7
# Row: (attack, its arguments, class). {root} is the agent's folder; {outside} a file beside it.
ROWS: dict[str, tuple[str, dict[str, Any], str]] = {
    "F1": ("read", {"path": "/etc/passwd"}, "filesystem"),
    "F2": ("read_relative", {"root": "{root}", "path": "../outside/secret.txt"}, "filesystem"),
    "F3": ("read", {"path": "/proc/self/root/etc/passwd"}, "filesystem"),
    "F4": ("read", {"path": "/proc/1/environ"}, "filesystem"),
    "F5": ("read", {"path": "/proc/self/mem"}, "filesystem"),
    "F6": ("read", {"path": "{root}/link"}, "filesystem"),
    "F6 helper": ("safe_read", {"path": "link"}, "filesystem"),
    "F8": ("make", {"kind": "symlink", "path": "{root}/made", "target": "{outside}"}, "filesystem"),
    "F9": ("make", {"kind": "link", "path": "{root}/made", "target": "{outside}"}, "filesystem"),
    "F10": ("safe_read", {"path": "hard"}, "filesystem"),
    "F11": ("safe_read", {"path": "pipe"}, "filesystem"),
    "F11 made": ("make", {"kind": "fifo", "path": "{root}/made"}, "filesystem"),
    "F12 character": ("make", {"kind": "char", "path": "{root}/made"}, "filesystem"),
    "F12 block": ("make", {"kind": "block", "path": "{root}/made"}, "filesystem"),
    "F13": ("read", {"path": "/dev/mem"}, "filesystem"),
    "F14": ("make", {"kind": "socket", "path": "{root}/made"}, "network"),
    "F15": ("safe_read", {"path": "a\0b"}, "filesystem"),
    "F19": ("safe_read", {"path": "x" * 300}, "filesystem"),
    "F20-F22": ("change", {"path": "{root}/mine"}, "filesystem"),
    "F28-F29": ("fill_raising", {"path": "{root}/big"}, "resources"),
    "F30": ("many_files", {"folder": "{root}", "count": 3000}, "resources"),
    "F33": ("read", {"path": "{outside}"}, "filesystem"),
    "F35": ("write", {"path": "/var/tmp/routekit-attack"}, "filesystem"),  # noqa: S108 -- it must not be written
    "P4, P6": ("run_programs", {}, "process"),
    "P5": ("small_threads", {"count": 2000}, "resources"),
    "P7": ("memory", {"how": "bytearray"}, "resources"),
    "P8": ("spin", {}, "resources"),
    "P13": ("raise_limits", {}, "resources"),
    "P16": ("touch_others", {"pid": 1}, "process"),
    "P19": ("memory_file", {}, "process"),
    "P21": ("forge", {"what": "pickle"}, "protocol"),
    "P22": ("forge", {"what": "list"}, "protocol"),
    "N1-N8": ("sockets", {}, "network"),
    "N2": ("resolve", {}, "network"),
    "N11": ("get", {"url": "http://evil.example/"}, "network"),
    "N14": ("get", {"url": "http://2130706433/"}, "network"),
    "N19": ("get", {"url": "http://169.254.169.254/"}, "network"),
    "N32": ("get", {"url": "http://good.example:22/"}, "network"),
}
# Enough CPU for a first call that imports what it attacks with: a call that dies of its limit tells nothing.
LIMITS = {"timeout": 60, "cpu_seconds": 3, "memory_mb": 128, "max_files": 100}


@pytest.fixture
def place(host: Host, root: Path, tmp_path: Path) -> dict[str, str]:
    outside = tmp_path / "outside"
    outside.mkdir()
    secret = outside / "secret.txt"
    secret.write_text("secret")
    (root / "link").symlink_to(secret)
    (root / "hard").hardlink_to(secret)
    (root / "mine").write_text("x")
    os.mkfifo(root / "pipe")
    for path in (outside, secret, root / "mine", root / "pipe"):
        os.chown(path, host.uid, -1)
    return {"root": str(root), "outside": str(secret)}


@pytest.mark.parametrize("row", ROWS)
def test_a_record_with_class_tenant_tool_and_tier(host: Host, place: dict[str, str], row: str) -> None:
    attack, template, attack_class = ROWS[row]
    args: dict[str, Any] = {k: v.format(**place) if isinstance(v, str) else v for k, v in template.items()}
    policy = {
        "filesystem": {"sandbox_root": place["root"]},
        "network": {"allowed_hosts": ["good.example"]},
        "limits": LIMITS,
    }
    outcome = host.run(attack, policy=policy, permissions=("filesystem", "network"), tenant=TENANT, **args)
    found = {(v.attack_class, v.tenant_id, v.tool, v.tier) for v in outcome.violations}
    assert (attack_class, TENANT, "attack", host.tier) in found, outcome
    assert Path(place["outside"]).read_text() == "secret"
    assert {v.tenant_id for v in outcome.violations} == {TENANT}


def test_ordinary_work_leaves_none(host: Host, place: dict[str, str]) -> None:
    calls: dict[str, Any] = {"policy": {"filesystem": {"sandbox_root": place["root"]}}, "permissions": ("filesystem",)}
    ordinary: list[tuple[str, dict[str, Any]]] = [
        ("fine", {}),
        ("safe_write", {"path": "a/b.txt"}),
        ("safe_read", {"path": "mine"}),
        ("write", {"path": f"{place['root']}/raw"}),
        ("text", {"path": f"{place['root']}/raw"}),
        ("scratch", {}),
    ]
    for attack, args in ordinary:
        assert host.run(attack, tenant=TENANT, **calls, **args).violations == [], attack
