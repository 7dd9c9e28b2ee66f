"""Each bad environment variable stops the start with one line that names it, and never shows its value."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from routekit_site import env
from routekit_site.demo_keys import make_keys
from tests.fixtures.compose import PROJECT
from tests.fixtures.environment import clean_environment

BAD = {
    "ROUTEKIT_DEMO": "maybe",
    "ROUTEKIT_BIND": "8000",
    "ROUTEKIT_SECRET_KEY": "short",
    "ROUTEKIT_ENCRYPTION_KEYS": "not-a-key",
    "ROUTEKIT_SIGNING_KEY": "not-a-key",
    "ROUTEKIT_VERIFY_KEYS": "not-a-key",
    "ROUTEKIT_TRUSTED_ORIGINS": "routekit.example.com",
    "ROUTEKIT_APPS": "no_such_app.anywhere",
    "ROUTEKIT_HTTPS": "perhaps",
    "ROUTEKIT_TOOL_FILTER": '{"allow": ["read_file"]}',
    "ROUTEKIT_SANDBOX_REQUIRE": "nothing",
    "ROUTEKIT_LOG_LEVEL": "LOUD",
    "ROUTEKIT_LEASE_SECONDS": "0",
    "ROUTEKIT_DATABASE_POOL": "-1",
    "ROUTEKIT_PROXIES": "-1",
    "ROUTEKIT_SUBMIT_RATE": "often",
    "ROUTEKIT_DECIDE_RATE": "often",
    "ROUTEKIT_REAUTHENTICATE_MINUTES": "0",
    "ROUTEKIT_SESSION_IDLE_MINUTES": "1",
    "ROUTEKIT_SESSION_HOURS": "0",
    "ROUTEKIT_OIDC_SERVER_URL": "http://id.example.com",
    "DATABASE_URL": "mysql://somewhere/db",
    "REDIS_URL": "amqp://somewhere",
    "ROUTEKIT_SITE_URL": "site.without.scheme",
    "ROUTEKIT_EMAIL_URL": "imap://somewhere",
    "ROUTEKIT_EMAIL_FROM": "nobody",
    "ROUTEKIT_WEBHOOK_HOSTS": "hooks.internal",
}


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """A valid environment; what a test adds is put into the process's own with `settle`."""
    for name in [*BAD, *(f"{name}_FILE" for name in env.SECRETS)]:
        monkeypatch.delenv(name, raising=False)
    return {**make_keys(), "ROUTEKIT_DATA_DIR": str(tmp_path)}


def read(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> env.Environment:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return env.read(environ)


def test_a_valid_environment_is_read(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    environ |= {"ROUTEKIT_ALLOWED_HOSTS": "a.example, b.example", "ROUTEKIT_TOOL_FILTER": '{"denied_tools": ["x"]}'}
    found = read(environ, monkeypatch)
    assert found.allowed_hosts == ("a.example", "b.example")
    assert found.tool_filter is not None
    assert found.tool_filter.denied_tools == ("x",)
    assert found.database_url is None


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_is_named_in_one_line_without_itself(
    name: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environ[name] = BAD[name]
    with pytest.raises(ValueError, match=rf"^{name}: ") as caught:
        read(environ, monkeypatch)
    assert len(str(caught.value).splitlines()) == 1
    if "KEY" in name or "URL" in name:
        assert BAD[name] not in str(caught.value)


def test_a_provider_needs_its_client(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    environ["ROUTEKIT_OIDC_SERVER_URL"] = "https://id.example.com"
    with pytest.raises(ValueError, match=r"^ROUTEKIT_OIDC_SERVER_URL: .*CLIENT_SECRET are needed too$"):
        read(environ, monkeypatch)
    environ |= {"ROUTEKIT_OIDC_CLIENT_ID": "routekit", "ROUTEKIT_OIDC_CLIENT_SECRET": "secret of the tests"}
    assert read(environ, monkeypatch).oidc_server_url == "https://id.example.com"


@pytest.mark.parametrize("name", ["ROUTEKIT_SECRET_KEY", "ROUTEKIT_ENCRYPTION_KEYS"])
def test_a_missing_key_is_named(name: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    del environ[name]
    monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=rf"^{name}: is missing$"):
        read(environ, monkeypatch)


def test_two_bad_values_make_two_lines(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    environ |= {"ROUTEKIT_LOG_LEVEL": "LOUD", "ROUTEKIT_LEASE_SECONDS": "0"}
    with pytest.raises(ValueError, match="ROUTEKIT_") as caught:
        read(environ, monkeypatch)
    assert {line.split(":")[0] for line in str(caught.value).splitlines()} == {
        "ROUTEKIT_LOG_LEVEL",
        "ROUTEKIT_LEASE_SECONDS",
    }


def test_a_misspelt_variable_is_refused(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    environ["ROUTEKIT_ALOWED_HOSTS"] = "a.example"
    with pytest.raises(ValueError, match=r"^ROUTEKIT_ALOWED_HOSTS: is not a setting"):
        read(environ, monkeypatch)


def test_a_secret_may_stand_in_a_file(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = environ.pop("ROUTEKIT_SECRET_KEY")
    monkeypatch.delenv("ROUTEKIT_SECRET_KEY", raising=False)
    file = tmp_path / "secret"
    file.write_text(f"{secret}\n", encoding="utf-8")
    environ["ROUTEKIT_SECRET_KEY_FILE"] = str(file)
    assert read(environ, monkeypatch).secret_key.get_secret_value() == secret


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["missing", "no text"])
def test_an_unreadable_secret_file_is_named(
    content: bytes | None, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    environ["REDIS_URL_FILE"] = str(tmp_path / "secret")
    with pytest.raises(ValueError, match=r"^REDIS_URL_FILE: the file can't be read"):
        read(environ, monkeypatch)


def test_a_secret_given_twice_is_refused(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    environ["ROUTEKIT_SECRET_KEY_FILE"] = "/nowhere"
    with pytest.raises(ValueError, match=r"^ROUTEKIT_SECRET_KEY_FILE: ROUTEKIT_SECRET_KEY is set too"):
        read(environ, monkeypatch)


@pytest.mark.parametrize("bind", ["0.0.0.0:8000", "[::]:8000", "192.0.2.7:8000", "example.org:8000"])
def test_demo_mode_refuses_what_others_can_reach(
    bind: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environ |= {"ROUTEKIT_DEMO": "1", "ROUTEKIT_BIND": bind}
    with pytest.raises(ValueError, match=r"^ROUTEKIT_BIND: demo mode serves only this machine"):
        read(environ, monkeypatch)
    assert read(environ | {"ROUTEKIT_DEMO": "0"}, monkeypatch).bind == bind


@pytest.mark.parametrize("bind", ["127.0.0.1:8000", "localhost:1", "[::1]:65535", "127.9.9.9:80"])
def test_demo_mode_takes_loopback(bind: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(environ | {"ROUTEKIT_DEMO": "1", "ROUTEKIT_BIND": bind}, monkeypatch).bind == bind


@pytest.mark.parametrize("bind", ["", "127.0.0.1", ":8000", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:٨٠"])
def test_an_address_needs_a_host_and_a_port(bind: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        env.parse_address(bind)


def test_demo_mode_makes_its_keys_once_for_the_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in make_keys():
        monkeypatch.delenv(name, raising=False)
    environ = {"ROUTEKIT_DEMO": "1", "ROUTEKIT_DATA_DIR": str(tmp_path / "var")}
    first = read(environ, monkeypatch)
    assert read(environ, monkeypatch).secret_key == first.secret_key
    assert (tmp_path / "var" / "demo-keys.json").stat().st_mode & 0o777 == 0o600


def test_the_process_ends_with_that_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=PROJECT,
        env=clean_environment({**make_keys(), "ROUTEKIT_LOG_LEVEL": "LOUD"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("routekit: ROUTEKIT_LOG_LEVEL: ")


def test_every_setting_is_explained_in_the_reference() -> None:
    reference = (PROJECT / "docs/reference/settings.md").read_text(encoding="utf-8")
    aliases = {"database_url", "redis_url", "openai_api_key", "openai_base_url"}
    names = {name.upper() if name in aliases else f"ROUTEKIT_{name.upper()}" for name in env.Environment.model_fields}
    assert {name for name in names if f"`{name}`" not in reference} == set()
