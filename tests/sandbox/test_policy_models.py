"""The policy models: strict, and warning of what an operator should think about twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from agents.sandbox import FilesystemSandbox, NetworkSandbox, ResourceLimits, SandboxPolicy
from agents.sandbox.hosts import HostError, normalised

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("model", [FilesystemSandbox, NetworkSandbox, ResourceLimits, SandboxPolicy])
def test_unknown_keys_are_errors(model: type[SandboxPolicy]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        model.model_validate({"sandbox_root": "/srv/agent", "alowed_paths": []})


@pytest.mark.parametrize(
    "host",
    ["*", "*.com", "*.*.a.org", "a.*.org", "http://a.example", "a b", "127.1", "*.127.0.0.1", "a.org:0", "a.org:x", ""],
)
def test_host_rules_that_mean_nothing_or_everything(host: str) -> None:
    with pytest.raises(ValidationError):
        NetworkSandbox(allowed_hosts=(host,))


@pytest.mark.parametrize(
    "network", ["10.0.0.1", "10.0.0.1/8", "intranet.example", "*.intranet.example:80", "10.0.0.0/99"]
)
def test_private_networks_need_a_prefix_or_a_port(network: str) -> None:
    with pytest.raises(ValidationError):
        NetworkSandbox(allowed_networks=(network,))


def test_empty_hosts_mean_no_network() -> None:
    assert not NetworkSandbox().open()
    assert NetworkSandbox(allowed_hosts=("a.example",)).open()


def test_names_are_compared_in_one_form() -> None:
    assert normalised("BÜCHER.example.") == "xn--bcher-kva.example"
    with pytest.raises(HostError):
        normalised("fe80::1%eth0")


def test_one_path_can_not_be_both(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="both writable and read-only"):
        FilesystemSandbox(sandbox_root=str(tmp_path / "a"), read_only_paths=(str(tmp_path / "a"),))


def test_a_neighbour_with_the_same_beginning_is_not_inside() -> None:
    folders = FilesystemSandbox(sandbox_root="/srv/safe", read_only_paths=("/srv/safe_evil",))
    assert folders.read_only_inside_writable() == ()


def test_warnings() -> None:
    policy = SandboxPolicy(
        require="best_effort",
        filesystem=FilesystemSandbox(sandbox_root="/srv/agent", read_only_paths=("/srv/agent/library",)),
        network=NetworkSandbox(allowed_hosts=("*.example.org",), allowed_networks=("127.0.0.1:8000",)),
    )
    found = "\n".join(policy.warnings())
    for words in ("not a boundary", "127.0.0.1:8000", "below example.org", "/srv/agent/library"):
        assert words in found
    assert SandboxPolicy().warnings() == []


def test_a_tools_own_limits_only_narrow() -> None:
    site = ResourceLimits(cpu_seconds=10, memory_mb=256)
    assert site.tightened(ResourceLimits(cpu_seconds=5)).cpu_seconds == 5
    assert site.tightened(ResourceLimits(cpu_seconds=50)).cpu_seconds == 10
    assert site.tightened(ResourceLimits(cpu_seconds=5)).memory_mb == 256
    assert site.tightened(None) == site


def test_policies_survive_their_json() -> None:
    policy = SandboxPolicy(network=NetworkSandbox(allowed_hosts=("a.example",), blocked_hosts=("b.a.example",)))
    assert SandboxPolicy.model_validate_json(policy.model_dump_json()) == policy
