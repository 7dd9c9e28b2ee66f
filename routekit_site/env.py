"""Every environment variable that the site reads, typed and validated. Only the egress broker reads some itself.

Secrets may be given as `NAME` or, the way container secrets work, as the path of a file in `NAME_FILE`.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from base64 import b64decode
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from limits import parse
from pydantic import AliasChoices, Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from agents.types import RuntimeDefaults
from approvals.types import ToolFilter
from routekit_site.demo_keys import demo_keys

PROJECT = Path(__file__).resolve().parent.parent
PREFIX = "ROUTEKIT_"
# Read by the test harness, never by the site.
TEST_PREFIX = "ROUTEKIT_TEST_"
SECRETS = (
    "ROUTEKIT_SECRET_KEY",
    "ROUTEKIT_ENCRYPTION_KEYS",
    "ROUTEKIT_SIGNING_KEY",
    # No secret, but a file among the keys' files.
    "ROUTEKIT_VERIFY_KEYS",
    "ROUTEKIT_METRICS_TOKEN",
    "ROUTEKIT_OIDC_CLIENT_SECRET",
    "OPENAI_API_KEY",
    "DATABASE_URL",
    "REDIS_URL",
    "ROUTEKIT_EMAIL_URL",
)
_KEY_BYTES = 32
_HIGHEST_PORT = 65_535
_DATABASES = {"postgres", "postgresql", "sqlite"}
_THIS_MACHINE = {"127.0.0.1", "localhost"}
_BROKERS = {"redis", "rediss", "unix"}
_MAIL_SERVERS = {"smtp", "smtps"}


class Address(NamedTuple):
    """Where the embedded server listens."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it. Names other than `localhost` are not trusted to say so."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(text: str) -> Address:
    """`HOST:PORT`, with an IPv6 host in brackets.

    Raises:
        ValueError: it is something else; the message says what is expected.
    """
    host, colon, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= _HIGHEST_PORT:
        raise ValueError("must be HOST:PORT with a port from 1 to 65535, such as 127.0.0.1:8000")
    return Address(host, int(port))


def checked_address(text: str, *, demo: bool) -> Address:
    """`parse_address`, and in demo mode a loopback address only: its accounts and passwords are known to everybody.

    Raises:
        ValueError: no address, or demo mode and an address that other machines can reach.
    """
    address = parse_address(text)
    if demo and not address.is_loopback:
        raise ValueError("demo mode serves only this machine (its passwords are public): use 127.0.0.1 or leave it out")
    return address


def origin_of(url: str) -> str:
    """Scheme, host and port of an address."""
    parsed = urlsplit(url)
    return f"{parsed.scheme}://{parsed.netloc.rpartition('@')[2]}"


def _split(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _check_raw_key(value: str) -> None:
    try:
        size = len(b64decode(value, validate=True))
    except ValueError:
        size = 0
    if size != _KEY_BYTES:
        raise ValueError("must be 32 base64-encoded bytes (python -m routekit_site.make_keys makes one)")


class Environment(BaseSettings):
    """The site's settings that differ from one installation to another. `docs/reference/settings.md` explains each."""

    model_config = SettingsConfigDict(extra="ignore", env_prefix=PREFIX, case_sensitive=False)

    demo: bool = False
    data_dir: Path = PROJECT / "var"
    bind: str = "127.0.0.1:8000"
    secret_key: SecretStr = Field(min_length=32)
    encryption_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(min_length=1)
    signing_key: SecretStr | None = None
    verify_keys: Annotated[tuple[str, ...], NoDecode] = ()
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ("127.0.0.1", "localhost")
    trusted_origins: Annotated[tuple[str, ...], NoDecode] = ()
    https: bool = True
    proxies: int = Field(default=0, ge=0, le=10)
    submit_rate: str = "120/minute"
    decide_rate: str = "600/minute"
    sockets_per_person: int = Field(default=20, ge=1, le=100_000)
    reauthenticate_minutes: int = Field(default=15, ge=1, le=1440)
    session_idle_minutes: int = Field(default=120, ge=5, le=1440)
    session_hours: int = Field(default=12, ge=1, le=720)
    oidc_server_url: str | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: SecretStr | None = None
    oidc_name: str = "your organisation"
    oidc_sign_up: bool = False
    tool_filter: ToolFilter | None = None
    contain_after: int = Field(default=5, ge=1, le=1000)
    runtime_defaults: RuntimeDefaults = RuntimeDefaults()
    approval_callbacks: Annotated[tuple[str, ...], NoDecode] = ()
    apps: Annotated[tuple[str, ...], NoDecode] = ()
    egress_socket: Path | None = None
    egress_ca_file: Path | None = None
    sandbox_require: Literal["kernel", "best_effort"] = "kernel"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    site_url: str = ""
    email_url: SecretStr | None = None
    email_from: str = "RouteKit Site <routekit@localhost>"
    webhook_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    otlp_endpoint: str = Field(default="", pattern=r"^(https?://\S+)?$")
    metrics_token: SecretStr | None = Field(default=None, min_length=16)
    log_format: Literal["line", "json"] = "line"
    lease_seconds: float = Field(default=30.0, ge=1, le=3600)
    database_pool: int = Field(default=0, ge=0, le=200)
    database_url: SecretStr | None = Field(default=None, validation_alias=AliasChoices("DATABASE_URL"))
    redis_url: SecretStr | None = Field(default=None, validation_alias=AliasChoices("REDIS_URL"))
    openai_api_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("OPENAI_API_KEY"))
    openai_base_url: str | None = Field(default=None, validation_alias=AliasChoices("OPENAI_BASE_URL"))

    @field_validator(
        "encryption_keys",
        "verify_keys",
        "allowed_hosts",
        "trusted_origins",
        "approval_callbacks",
        "apps",
        "webhook_hosts",
        mode="before",
    )
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        return _split(value)

    @field_validator("bind")
    @classmethod
    def _reachable_as_intended(cls, value: str, info: ValidationInfo) -> str:
        checked_address(value, demo=bool(info.data.get("demo")))
        return value

    @field_validator("encryption_keys")
    @classmethod
    def _usable_keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in value:
            try:
                Fernet(key.get_secret_value())
            except ValueError as error:
                message = "each must be 32 url-safe base64-encoded bytes (python -m routekit_site.make_keys makes one)"
                raise ValueError(message) from error
        return value

    @field_validator("signing_key")
    @classmethod
    def _usable_signing_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _check_raw_key(value.get_secret_value())
        return value

    @field_validator("verify_keys")
    @classmethod
    def _usable_verify_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for key in value:
            _check_raw_key(key)
        return value

    @field_validator("trusted_origins")
    @classmethod
    def _origins_with_scheme(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(urlsplit(origin).scheme not in {"http", "https"} for origin in value):
            raise ValueError("each origin must begin with https:// (or http://), such as https://routekit.example.com")
        return value

    @field_validator("oidc_server_url")
    @classmethod
    def _provider_by_https(cls, value: str | None) -> str | None:
        if value is None or not value.strip():
            return None
        parsed = urlsplit(value)
        if not parsed.hostname or (parsed.scheme != "https" and parsed.hostname not in _THIS_MACHINE):
            raise ValueError("must be the provider's issuer address, such as https://id.example.com/realms/staff")
        return value

    @model_validator(mode="after")
    def _provider_complete(self) -> Self:
        if self.oidc_server_url and not (self.oidc_client_id and self.oidc_client_secret):
            raise ValueError("ROUTEKIT_OIDC_CLIENT_ID and ROUTEKIT_OIDC_CLIENT_SECRET are needed too")
        return self

    @field_validator("submit_rate", "decide_rate")
    @classmethod
    def _readable_rates(cls, value: str) -> str:
        try:
            parse(value)
        except ValueError:
            raise ValueError("must be a count and a time, such as 120/minute or 1000/hour") from None
        return value

    @field_validator("apps")
    @classmethod
    def _importable_apps(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            try:
                found = find_spec(name)
            except (ImportError, ValueError):
                found = None
            if found is None:
                raise ValueError(f"{name} can't be imported: each must be a Django app that is installed here")
        return value

    @field_validator("site_url")
    @classmethod
    def _address_of_the_site(cls, value: str) -> str:
        if value and (urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).hostname):
            raise ValueError(
                "must be the address under which people open the site, such as https://routekit.example.com"
            )
        return value.rstrip("/")

    @field_validator("webhook_hosts")
    @classmethod
    def _hosts_with_ports(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            try:
                parse_address(host)
            except ValueError as error:
                raise ValueError("each must be HOST:PORT, such as hooks.internal:8443") from error
        return tuple(host.lower() for host in value)

    @field_validator("email_url")
    @classmethod
    def _known_mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        return _with_scheme(value, _MAIL_SERVERS, "smtp://user:password@mail.example.org:587")

    @field_validator("email_from")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if "@" not in value or not value.isprintable():
            raise ValueError("must be a sender such as RouteKit <routekit@example.org>")
        return value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr | None) -> SecretStr | None:
        return _with_scheme(value, _DATABASES, "postgresql://user:password@host:5432/name")

    @field_validator("redis_url")
    @classmethod
    def _known_broker(cls, value: SecretStr | None) -> SecretStr | None:
        return _with_scheme(value, _BROKERS, "redis://host:6379/0")


def _with_scheme(value: SecretStr | None, schemes: set[str], example: str) -> SecretStr | None:
    if value is None or not value.get_secret_value().strip():
        return None
    if urlsplit(value.get_secret_value()).scheme not in schemes:
        message = f"must be an address such as {example}"
        raise ValueError(message)
    return value


def _from_files(environ: Mapping[str, str]) -> dict[str, str]:
    """The secrets that are given as `NAME_FILE`, by the name under which `Environment` takes them."""
    found: dict[str, str] = {}
    for name in SECRETS:
        path = environ.get(f"{name}_FILE")
        if path and name in environ:
            message = f"{name}_FILE: {name} is set too; keep one of them"
            raise ValueError(message)
        if path:
            try:
                found[_argument(name)] = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                message = f"{name}_FILE: the file can't be read ({type(error).__name__})"
                raise ValueError(message) from error
    return found


def _argument(name: str) -> str:
    return name.removeprefix(PREFIX).lower() if name.startswith(PREFIX) else name


def _unknown(environ: Mapping[str, str]) -> list[str]:
    """Variables with our prefix that nothing reads: a misspelt one would silently leave its default in force."""
    known = {f"{PREFIX}{name}".upper() for name in Environment.model_fields} | {f"{name}_FILE" for name in SECRETS}
    return [
        f"{name}: is not a setting of the site (docs/reference/settings.md lists them)"
        for name in sorted(environ)
        if name.startswith(PREFIX) and not name.startswith(TEST_PREFIX) and name not in known
    ]


def _demo_values(environ: Mapping[str, str]) -> dict[str, str]:
    """The demo's own keys, where demo mode is on and the environment gives none."""
    if environ.get("ROUTEKIT_DEMO", "").strip().lower() not in {"1", "true", "yes", "on", "t", "y"}:
        return {}
    keys = demo_keys(Path(environ.get("ROUTEKIT_DATA_DIR") or PROJECT / "var"))
    return {_argument(name): value for name, value in keys.items() if name not in environ}


def _variable(location: tuple[int | str, ...]) -> str:
    # Only the check of the provider's three variables is about more than one field.
    name = str(location[0]) if location else "oidc_server_url"
    return name if name.isupper() else f"{PREFIX}{name.upper()}"


def _problems(error: ValidationError) -> list[str]:
    lines: dict[str, str] = {}
    for problem in error.errors(include_input=False, include_url=False):
        name = _variable(problem["loc"])
        what = "is missing" if problem["type"] == "missing" else problem["msg"].removeprefix("Value error, ")
        lines.setdefault(name, f"{name}: {what}")
    return list(lines.values())


def read(environ: Mapping[str, str]) -> Environment:
    """The settings in the process's environment, whose secrets may stand in files.

    Raises:
        ValueError: something is wrong; one line for each variable, naming it and never its value.
    """
    unknown = _unknown(environ)
    if unknown:
        raise ValueError("\n".join(unknown))
    values: dict[str, Any] = {**_demo_values(environ), **_from_files(environ)}
    try:
        return Environment(**values)
    except ValidationError as error:
        raise ValueError("\n".join(_problems(error))) from None
    except SettingsError as error:
        # pydantic-settings names the field; the variable holds JSON that can't be parsed.
        field = str(error).split('"')[1] if '"' in str(error) else ""
        message = f"{_variable((field,))}: must be JSON"
        raise ValueError(message) from None


def load() -> Environment:
    """Read and validate the environment; a bad value stops the process with one line that names the variable."""
    try:
        return read(os.environ)
    except ValueError as error:
        sys.exit("\n".join(f"routekit: {line}" for line in str(error).splitlines()))
    except OSError as error:
        sys.exit(f"routekit: ROUTEKIT_DATA_DIR: the directory can't be used ({type(error).__name__})")
