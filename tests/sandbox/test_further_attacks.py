"""Attacks that are in nobody's list, at T2 and in what a container gives: nothing gets out, and it is on record."""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.sandbox.conftest import Host

DENIED = {"EACCES", "EPERM", "ENOENT", "EROFS", "EXDEV", "EBADF", "ENOSYS"}


@pytest.fixture
def attack(host: Host) -> Any:
    return functools.partial(host.run, module="further_attacks:FurtherAttack")


@pytest.fixture
def outside(tmp_path: Path, host: Host, root: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    place = folder / "secret.txt"
    place.write_text("secret")
    for path in (folder, place):
        os.chown(path, host.uid, -1)
    assert root.exists()
    return place


def on_record(host: Host, outcome: SimpleNamespace, attack_class: str) -> bool:
    """Whether the outcome holds a violation of this class, of this tenant, tool and tier."""
    found = {(v.attack_class, v.tenant_id, v.tool, v.tier) for v in outcome.violations}
    return (attack_class, 1, "attack", host.tier) in found


def test_kernel_calls_by_which_others_have_left_sandboxes(host: Host, attack: Any) -> None:
    outcome = attack("kernel_calls")
    assert len(outcome.value) > 50
    assert {name: said for name, said in outcome.value.items() if said != "EPERM"} == {}
    assert on_record(host, outcome, "memory")


@pytest.mark.parametrize("name", ["device_controls", "signals_to_the_owner"])
def test_no_control_over_terminals_devices_and_owners(attack: Any, name: str) -> None:
    assert set(attack(name).value.values()) == {"EPERM"}


def test_nothing_of_other_processes_can_be_read(host: Host, attack: Any) -> None:
    outcome = attack("others_in_proc")
    assert outcome.value == []
    assert on_record(host, outcome, "filesystem")


def test_no_call_moves_bytes_or_names_over_the_border(
    host: Host, attack: Any, root: Path, outside: Path, files: dict[str, Any]
) -> None:
    inside = root / "in"
    inside.write_text("in")
    os.chown(inside, host.uid, -1)
    outcome = attack("copies_out", inside=str(inside), outside=str(outside), **files)
    assert {name: said for name, said in outcome.value.items() if said not in DENIED} == {}
    assert ([p.name for p in outside.parent.iterdir()], outside.read_text()) == (["secret.txt"], "secret")
    assert [p.name for p in root.iterdir()] == ["in"]
    assert on_record(host, outcome, "filesystem")
    assert "outside" in " ".join(v.detail for v in outcome.violations if v.detail.startswith("os.rename"))


def test_a_relative_path_or_a_link_that_leads_out_is_on_record(
    host: Host, root: Path, outside: Path, files: dict[str, Any]
) -> None:
    relative = host.run("read_relative", root=str(root), path="../outside/secret.txt", **files)
    assert (relative.value in DENIED, on_record(host, relative, "filesystem")) == (True, True)
    (root / "link").symlink_to(outside)
    linked = host.run("read", path=f"{root}/link", **files)
    assert (linked.value in DENIED, on_record(host, linked, "filesystem")) == (True, True)
    ordinary = host.run("safe_write", path="a/b.txt", **files)
    assert (ordinary.value, ordinary.violations) == (True, [])


def test_statistics_outside_are_hidden_by_namespaces(host: Host, attack: Any, outside: Path) -> None:
    said = attack("oracle", path=str(outside)).value
    # The documented residue of T1: whether a path exists. What is in it stays hidden at both.
    assert set(said.values()) <= ({"ENOENT"} if host.tier == "T2" else {"ALLOWED", "EINVAL", "ENOENT"})


@pytest.mark.parametrize("kind", ["refused", "cancelled", "sandbox_error", "contained", "timeout", "killed"])
def test_a_child_can_not_say_what_is_for_the_worker_to_say(host: Host, attack: Any, kind: str) -> None:
    outcome = attack("claim", what=kind)
    assert (outcome.kind, outcome.retryable) == ("invalid_result", False)
    assert on_record(host, outcome, "protocol")
    assert outcome.violations[0].grave


def test_a_flooded_channel_is_cut(host: Host, attack: Any) -> None:
    assert attack("flood_channel").kind == "invalid_result"
    assert attack("large_vectors").kind in ("invalid_result", "result_too_large")
    assert host.run("fine").value == "fine"


def test_a_silenced_witness_changes_nothing(attack: Any) -> None:
    assert attack("break_the_witness").value == "EPERM"


@pytest.mark.parametrize("name", ["unblock_signals", "hold_the_lock", "stop_itself"])
def test_no_way_to_outstay_the_deadline(attack: Any, name: str) -> None:
    started = time.monotonic()
    outcome = attack(name, policy={"limits": {"timeout": 0.5}})
    assert outcome.kind == "timeout"
    assert time.monotonic() - started < 50


def test_oddities_of_the_interpreter_are_this_calls_own(host: Host, attack: Any) -> None:
    assert attack("exit_in_a_thread").value == "fine"
    assert attack("deep_frames").kind in ("tool_error", "killed")
    assert host.run("fine").value == "fine"


FORGED = [
    "worker's words",
    "types",
    "header types",
    "nested",
    "many headers",
    "smuggled method",
    "smuggled path",
    "no method",
]


@pytest.mark.parametrize("what", FORGED)
def test_forged_messages_to_the_broker_send_nothing(host: Host, attack: Any, what: str) -> None:
    calls: dict[str, Any] = {"policy": {"network": {"allowed_hosts": ["good.example"]}}, "permissions": ("network",)}
    outcome = attack("forged_broker_request", what=what, **calls)
    assert outcome.value in ("network_refused", "closed")
    assert outcome.usage.bytes_sent == 0
    assert on_record(host, outcome, "network")


def test_requests_that_nobody_waits_for(host: Host, attack: Any) -> None:
    calls: dict[str, Any] = {"policy": {"network": {"allowed_hosts": ["good.example"]}}, "permissions": ("network",)}
    outcome = attack("flood_broker", count=2000, **calls)
    assert outcome.usage.bytes_sent == 0
    assert host.run("get", url="http://evil.example/", **calls).kind == "network_refused"


def test_an_agents_folder_can_not_be_made_unusable(host: Host, attack: Any, root: Path, files: dict[str, Any]) -> None:
    (root / "older").mkdir()
    (root / "older" / "kept.txt").write_text("kept")
    for place in (root / "older", root / "older" / "kept.txt"):
        os.chown(place, host.uid, -1)
    for name in ("deep_folders", "closed_folder"):
        outcome = attack(name, folder=str(root), **files)
        assert outcome.kind == "resources" if host.uid or name == "deep_folders" else outcome.succeeded
        after = host.run("safe_read", path="older/kept.txt", **files)
        assert (after.succeeded, after.value) == (True, "kept")
    assert {p.name for p in root.iterdir()} <= {"older", "closed"}


def test_names_that_no_text_holds_do_not_break_the_next_call(attack: Any, root: Path, files: dict[str, Any]) -> None:
    assert len(attack("odd_names", folder=str(root), **files).value) == 5
    assert attack("leave_open", folder=str(root), **files).value == "40"
    assert attack("odd_names", folder=str(root), **files).succeeded
