"""docker-compose.yml: valid, locked down, and made of the very commands that the tests start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from routekit_site import env
from tests.fixtures.compose import PROJECT, command_of, compose_file, interpolate
from tests.fixtures.processes import Site

OURS = ("migrate", "web", "worker", "beat", "egress")
LONG_LIVED = ("postgres", "redis", "web", "worker", "beat", "egress")


@pytest.fixture(scope="module")
def services_of_compose() -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = compose_file()["services"]
    return services


def test_it_is_valid_against_the_compose_specification() -> None:
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"]
    executable = Path(sys.executable).with_name(command[0])
    done = subprocess.run([executable, *command[1:]], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_do_little(name: str, services_of_compose: dict[str, dict[str, Any]]) -> None:
    service = services_of_compose[name]
    assert service["read_only"] is True
    assert service["user"].split(":")[0] not in {"", "0", "root"}
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["deploy"]["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", LONG_LIVED)
def test_each_long_lived_service_has_a_health_check(name: str, services_of_compose: dict[str, dict[str, Any]]) -> None:
    assert services_of_compose[name]["healthcheck"]["test"][0] == "CMD"


def test_nothing_starts_before_the_migrations(services_of_compose: dict[str, dict[str, Any]]) -> None:
    for name in ("web", "worker", "beat"):
        conditions = services_of_compose[name]["depends_on"]
        assert conditions["migrate"]["condition"] == "service_completed_successfully"
        assert conditions["redis"]["condition"] == "service_healthy"
    assert services_of_compose["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_only_the_web_process_holds_the_signing_key(services_of_compose: dict[str, dict[str, Any]]) -> None:
    holders = {name for name, service in services_of_compose.items() if "SIGNING_KEY" in str(service)}
    assert {name for name in holders if "routekit_signing_key" in services_of_compose[name]["secrets"]} == {"web"}
    assert holders == {"web"}


def test_the_egress_broker_holds_no_key_at_all(services_of_compose: dict[str, dict[str, Any]]) -> None:
    assert "secrets" not in services_of_compose["egress"]
    assert set(services_of_compose["egress"]["environment"]) == {"REDIS_URL", "ROUTEKIT_EGRESS_SOCKET"}


def test_database_and_broker_are_reached_from_inside_alone(services_of_compose: dict[str, dict[str, Any]]) -> None:
    for name in ("postgres", "redis"):
        assert services_of_compose[name]["networks"] == ["inside"]
        assert "ports" not in services_of_compose[name]
    assert compose_file()["networks"]["inside"]["internal"] is True
    assert services_of_compose["web"]["ports"][0].startswith("127.0.0.1:")


def test_every_secret_is_a_file_and_no_value_stands_in_the_file(
    services_of_compose: dict[str, dict[str, Any]],
) -> None:
    declared = compose_file()["secrets"]
    assert all(set(secret) == {"file"} for secret in declared.values())
    for name in OURS:
        environment = services_of_compose[name].get("environment", {})
        assert not set(environment) & (set(env.SECRETS) - {"REDIS_URL"})
        for variable, value in environment.items():
            if variable.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in services_of_compose[name]["secrets"]


def test_every_variable_of_ours_is_a_setting(services_of_compose: dict[str, dict[str, Any]]) -> None:
    known = {f"ROUTEKIT_{name.upper()}" for name in env.Environment.model_fields}
    known |= {f"{name}_FILE" for name in env.SECRETS}
    for name in OURS:
        ours = {v for v in services_of_compose[name].get("environment", {}) if v.startswith("ROUTEKIT_")}
        assert ours <= known


def test_interpolation_follows_compose() -> None:
    assert interpolate("${A:-1} ${B} ${C:-}", {"B": "2"}) == "1 2 "
    assert interpolate("${A:-1}", {"A": "3"}) == "3"


def test_the_stack_of_the_tests_runs_those_commands(stack: Site) -> None:
    for name in ("web", "worker", "beat"):
        pid = stack.processes[name].popen.pid
        running = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode().split("\0")
        expected = command_of(name, stack.environment)
        assert running[-len(expected) + 1 :] == expected[1:]
        assert Path(running[-len(expected)]).name == expected[0]


def test_health_checks_of_the_stack_pass(stack: Site) -> None:
    for name in ("web", "worker", "beat"):
        check = compose_file()["services"][name]["healthcheck"]["test"][1:]
        command = [interpolate(word, stack.environment) for word in check]
        done = subprocess.run(
            command, cwd=PROJECT, env=stack.environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
