"""Attacks F1 to F36: nothing outside the agent's folders is read or changed."""

# These folders are attacked, not used.
# ruff: noqa: S108, ARG001

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from agents.sandbox import FilesystemSandbox

if TYPE_CHECKING:
    from tests.sandbox.conftest import Host

DENIED = ("EACCES", "EPERM", "ENOENT", "EROFS")
OUTSIDE = "outside-the-root"


@pytest.fixture
def outside(tmp_path: Path, host: Host) -> Path:
    """A file next to the root that the host's user may read and write, and the sandbox may not."""
    folder = tmp_path / "outside"
    folder.mkdir()
    place = folder / "secret.txt"
    place.write_text(OUTSIDE)
    os.chown(folder, host.uid, -1)
    os.chown(place, host.uid, -1)
    return place


def test_the_folder_can_be_used(host: Host, root: Path, files: dict[str, Any]) -> None:
    assert host.run("safe_write", path="a/b.txt", text="hello", **files).value is True
    assert (root / "a/b.txt").read_text() == "hello"
    done = host.run("safe_read", path="a/b.txt", **files)
    assert (done.value, done.tier, done.usage.bytes_read) == ("hello", host.tier, 5)
    assert done.violations == []


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/proc/self/root/etc/passwd",
        "/proc/self/environ",
        "/proc/1/environ",
        "/proc/self/mem",
        "/proc/self/maps",
        "/dev/mem",
        "/dev/vda",
        "/sys/kernel/uevent_seqnum",
        "/dev/shm",
        "/root",
        "/",
    ],
)
def test_f1_f3_f4_f5_f13_paths_outside(host: Host, files: dict[str, Any], path: str) -> None:
    outcome = host.run("read", path=path, **files)
    assert outcome.value in (*DENIED, "EISDIR")
    if path != "/" and not path.startswith("/dev/"):
        assert [v.attack_class for v in outcome.violations] == ["filesystem"]
        assert (outcome.violations[0].tenant_id, outcome.violations[0].tool, outcome.violations[0].tier) == (
            1,
            "attack",
            host.tier,
        )


def test_a_file_outside_without_any_permission(host: Host, outside: Path) -> None:
    assert host.run("read", path=str(outside)).value in DENIED
    assert host.run("read", path="/etc/hostname").value in DENIED


def test_f2_relative_path_upwards(host: Host, root: Path, outside: Path, files: dict[str, Any]) -> None:
    assert outside.exists()
    found = host.run("read_relative", root=str(root), path="../outside/secret.txt", **files)
    assert found.value in DENIED


@pytest.mark.parametrize(
    "path",
    [
        "../outside/secret.txt",
        "a/../../outside/secret.txt",
        "/etc/passwd",
        "~/x",
        "x" * 300,
        "a/" * 3000,
        "a/../" * 2000,
    ],
)
def test_f1_f2_f19_the_helper_refuses(host: Host, files: dict[str, Any], path: str) -> None:
    outcome = host.run("safe_read", path=path, **files)
    assert not outcome.succeeded
    assert outcome.kind in ("violation", "tool_error")
    assert not outcome.retryable


def test_f6_symlink_made_earlier(host: Host, root: Path, outside: Path, files: dict[str, Any]) -> None:
    (root / "link").symlink_to(outside)
    (root / "folder").symlink_to(outside.parent)
    assert host.run("read", path=f"{root}/link", **files).value in DENIED
    assert host.run("read", path=f"{root}/folder/secret.txt", **files).value in DENIED
    refused = host.run("safe_read", path="link", **files)
    assert (refused.kind, refused.violations[0].attack_class) == ("violation", "filesystem")
    assert host.run("safe_read", path="folder/secret.txt", **files).kind == "violation"


def test_f7_symlink_race(host: Host, root: Path, outside: Path, files: dict[str, Any]) -> None:
    target, other = root / "target", root / "other"
    target.write_text("inside")
    os.chown(target, host.uid, -1)
    stop = threading.Event()

    def swap() -> None:
        spare = root / "spare"
        while not stop.is_set():
            other.symlink_to(outside)
            target.rename(spare)
            other.rename(target)
            target.unlink()
            spare.rename(target)

    swapper = threading.Thread(target=swap, daemon=True)
    swapper.start()
    counts: Counter[str] = Counter()
    try:
        # A second is enough, unless the two never get to run side by side in it.
        for _ in range(30):
            counts.update(host.run("race", path="target", secret=OUTSIDE, seconds=1.0, **files).value)
            if counts["opened"] and counts["refused"]:
                break
    finally:
        stop.set()
        swapper.join(30)
    assert counts["escaped"] == 0
    assert counts["opened"] > 0
    assert counts["refused"] > 0


@pytest.mark.parametrize("kind", ["symlink", "link", "fifo", "char", "block", "socket"])
def test_f8_f9_f11_f12_f14_nothing_but_files_is_made(
    host: Host, root: Path, outside: Path, files: dict[str, Any], kind: str
) -> None:
    assert host.run("make", kind=kind, path=f"{root}/made", target=str(outside), **files).value in DENIED
    assert not os.path.lexists(root / "made")


def test_f10_hard_link_made_earlier(host: Host, root: Path, outside: Path, files: dict[str, Any]) -> None:
    (root / "hard").hardlink_to(outside)
    refused = host.run("safe_read", path="hard", **files)
    assert refused.kind == "violation"
    assert "hard link" in refused.message
    host.run("safe_write", path="hard", text="changed", **files)
    assert outside.read_text() == OUTSIDE


def test_f10_the_root_is_made_by_us_and_private(host: Host, root: Path, files: dict[str, Any]) -> None:
    place = root / "new"
    policy = {"filesystem": {"sandbox_root": str(place)}}
    assert host.run("safe_write", path="x", policy=policy, permissions=("filesystem",)).succeeded
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_f11_a_fifo_does_not_hang(host: Host, root: Path, files: dict[str, Any]) -> None:
    os.mkfifo(root / "pipe")
    os.chown(root / "pipe", host.uid, -1)
    files["policy"]["limits"] = {"timeout": 60}
    refused = host.run("safe_read", path="pipe", **files)
    assert refused.kind == "violation"
    assert refused.usage.wall_seconds < 50


def test_f14_a_socket_file_is_refused(host: Host, root: Path, files: dict[str, Any]) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "s"))
        assert host.run("safe_read", path="s", **files).kind in ("violation", "tool_error")


def test_f15_nul_in_a_path(host: Host, files: dict[str, Any]) -> None:
    assert host.run("safe_read", path="a\0.txt", **files).kind == "violation"


def test_f16_look_alikes_are_literal(host: Host, root: Path, files: dict[str, Any]) -> None:
    missing = host.run("safe_read", path="\uff0e\uff0e/\uff0e\uff0e/etc/passwd", **files)
    assert missing.kind == "tool_error"
    assert host.run("safe_write", path="\uff0e\uff0e\uff0fx", **files).succeeded
    assert [p.name for p in root.iterdir()] == ["\uff0e\uff0e\uff0fx"]


def test_f20_f21_f22_read_only_stays_as_it_is(host: Host, root: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    place = library / "book.txt"
    place.write_text("as it was")
    for p in (library, place):
        os.chown(p, host.uid, -1)
    before = place.stat()
    policy = {"filesystem": {"sandbox_root": str(root), "read_only_paths": [str(library)]}}
    calls: dict[str, Any] = {"policy": policy, "permissions": ("filesystem",)}
    said = host.run("change", path=str(place), **calls).value
    assert {k: v for k, v in said.items() if v not in (*DENIED, "EINVAL")} == {}
    assert host.run("text", path=str(place), **calls).value == "as it was"
    assert host.run("safe_write", path=str(place), **calls).kind == "violation"
    assert host.run("write", path=f"{library}/new", **calls).value in DENIED
    after = place.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_size, after.st_uid) == (
        before.st_mode,
        before.st_mtime_ns,
        before.st_size,
        before.st_uid,
    )


def test_f21_f22_no_changes_of_owner_mode_or_time_in_the_own_folder_either(
    host: Host, root: Path, files: dict[str, Any]
) -> None:
    place = root / "mine"
    place.write_text("x")
    os.chown(place, host.uid, -1)
    said = host.run("change", path=str(place), **files).value
    assert {said[k] for k in ("chmod", "fchmod", "chown", "setxattr", "utime")} == {"EPERM"}


def test_f23_read_only_inside_writable(host: Host, root: Path) -> None:
    inner = root / "inner"
    inner.mkdir()
    (inner / "f").write_text("kept")
    for p in (inner, inner / "f"):
        os.chown(p, host.uid, -1)
    policy = {"filesystem": {"sandbox_root": str(root), "read_only_paths": [str(inner)]}}
    outcome = host.run("write", path=f"{inner}/f", policy=policy, permissions=("filesystem",))
    if host.tier == "T2":
        assert outcome.value in ("EROFS", "EACCES")
        assert host.run("write", path=f"{root}/g", policy=policy, permissions=("filesystem",)).value == "ALLOWED"
    else:
        assert outcome.kind == "unenforceable"
        assert "namespaces" in outcome.message
    assert (inner / "f").read_text() == "kept"


def test_f25_f26_only_the_two_channels_are_open(host: Host, files: dict[str, Any]) -> None:
    assert host.run("descriptors").value == [0, 1, 2, 3, 4]
    assert host.run("descriptors", **files).value == [0, 1, 2, 3, 4]


def test_f27_existence_outside_is_hidden_by_namespaces(host: Host, outside: Path, files: dict[str, Any]) -> None:
    seen = host.run("exists", path=str(outside), **files).value
    # A documented residue at T1: Landlock does not restrict stat(2).
    assert seen is (host.tier == "T1")


def test_f28_sparse_file(host: Host, root: Path, files: dict[str, Any]) -> None:
    assert host.run("sparse", path=f"{root}/big", **files).value == "EFBIG"


def test_f29_endless_write(host: Host, root: Path, files: dict[str, Any]) -> None:
    files["policy"]["limits"] = {"max_file_mb": 2}
    assert host.run("endless_write", path=f"{root}/big", **files).value == "EFBIG"
    assert (root / "big").stat().st_size <= 2 << 20


def test_f30_many_files_are_stopped_and_cleaned_up(host: Host, root: Path, files: dict[str, Any]) -> None:
    (root / "older").write_text("kept")
    os.utime(root / "older", (time.time() - 100,) * 2)
    files["policy"]["limits"] = {"max_files": 50}
    outcome = host.run("many_files", folder=str(root), count=2000, **files)
    assert (outcome.kind, outcome.violations[0].attack_class) == ("resources", "resources")
    assert "50 files" in outcome.message
    assert not list(root.glob("f*"))
    assert (root / "older").read_text() == "kept"


def test_f30_total_size(host: Host, root: Path, files: dict[str, Any]) -> None:
    files["policy"]["limits"] = {"max_disk_mb": 5}
    outcome = host.run("fill", folder=str(root), megabytes=20, **files)
    assert outcome.kind == "resources"
    assert sum(p.stat().st_size for p in root.iterdir()) <= 5 << 20


def test_f30_the_scratch_folder_has_a_quota(host: Host, files: dict[str, Any]) -> None:
    files["policy"]["limits"] = {"max_files": 50}
    outcome = host.run("scratch_bomb", count=2000, **files)
    assert outcome.value == "ENOSPC" if host.tier == "T2" else outcome.kind == "resources"


def test_the_scratch_folder_is_empty_and_gone_afterwards(host: Host, files: dict[str, Any]) -> None:
    first = host.run("scratch", **files).value
    second = host.run("scratch", **files).value
    assert first["before"] == second["before"] == []
    assert not Path(first["path"], "left").exists()


def test_f31_zip_bomb(host: Host) -> None:
    outcome = host.run("zip_bomb", policy={"limits": {"timeout": 60, "memory_mb": 128, "cpu_seconds": 5}})
    assert outcome.kind == "resources"


def test_f33_two_tenants_with_the_same_path(host: Host, root: Path) -> None:
    rooms = [root / "acme", root / "globex"]
    for room in rooms:
        room.mkdir()
        (room / "same.txt").write_text(room.name)
        for p in (room, room / "same.txt"):
            os.chown(p, host.uid, -1)

    def one(i: int) -> tuple[str, str]:
        mine, other = rooms[i % 2], rooms[1 - i % 2]
        calls: dict[str, Any] = {"policy": {"filesystem": {"sandbox_root": str(mine)}}, "permissions": ("filesystem",)}
        own = host.run("safe_read", path="same.txt", tenant=i % 2, **calls).value
        return own, host.run("read", path=f"{other}/same.txt", tenant=i % 2, **calls).value

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(one, range(12)))
    assert all(own == rooms[i % 2].name and other in DENIED for i, (own, other) in enumerate(found))


@pytest.mark.parametrize("folder", ["/tmp", "/var/tmp", "/dev/shm", "/"])
def test_f35_common_folders_can_not_be_written(host: Host, files: dict[str, Any], folder: str) -> None:
    assert host.run("write", path=f"{folder}/routekit-attack", **files).value in DENIED
    assert not Path(folder, "routekit-attack").exists()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//",
        "/proc",
        "/proc/self",
        "/sys",
        "/dev",
        "/etc/ssl",
        "~",
        "~/x",
        "/home",
        "/root",
        "relative",
        "/a/../etc",
    ],
)
def test_f36_grants_that_nobody_can_mean(path: str) -> None:
    with pytest.raises(ValidationError, match=r"can't be granted|absolute path|go up"):
        FilesystemSandbox(sandbox_root=path)


def test_f36_the_project_and_secrets(tmp_path: Path) -> None:
    project = Path(__file__).resolve().parents[2]
    for path in (project, project.parent, project / "agents", project / "var", Path.home(), tmp_path / ".ssh"):
        with pytest.raises(ValidationError):
            FilesystemSandbox(sandbox_root="/srv/agent", allowed_paths=(str(path),))
    (tmp_path / "innocent").symlink_to("/etc")
    with pytest.raises(ValidationError, match="belongs to the system"):
        FilesystemSandbox(sandbox_root=str(tmp_path / "innocent"))
    assert FilesystemSandbox(sandbox_root=str(project / "var" / "agents" / "7"))


def test_f36_a_link_put_in_place_after_the_policy_was_saved(host: Host, root: Path) -> None:
    policy = FilesystemSandbox(sandbox_root=f"{root}/later").model_dump(mode="json")
    (root / "later").symlink_to("/etc")
    code = host.run("safe_read", path="hostname", policy={"filesystem": policy}, permissions=("filesystem",))
    assert code.kind in ("policy", "refused")
