"""Every environment variable that the site reads, typed and validated. Nothing else reads the environment.

Secrets may be given as `NAME` or, the way container secrets work, as the path of a file in `NAME_FILE`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

from cryptography.fernet import Fernet
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from approvals.types import ToolFilter
from routekit_site.demo_keys import demo_keys

PROJECT = Path(__file__).resolve().parent.parent

SECRETS = (
    "ROUTEKIT_SECRET_KEY",
    "ROUTEKIT_ENCRYPTION_KEYS",
    "ROUTEKIT_SIGNING_KEY",
    "OPENAI_API_KEY",
    "DATABASE_URL",
    "REDIS_URL",
)


def _split(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


class Environment(BaseSettings):
    """The site's settings that differ from one installation to another. `docs/reference/settings.md` explains each."""

    model_config = SettingsConfigDict(extra="ignore", env_prefix="ROUTEKIT_", case_sensitive=False)

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
    tool_filter: ToolFilter | None = None
    egress_socket: Path | None = None
    sandbox_require: str = Field(default="kernel", pattern="^(kernel|best_effort)$")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    lease_seconds: float = Field(default=30.0, ge=1, le=3600)
    database_url: SecretStr | None = Field(default=None, validation_alias=AliasChoices("DATABASE_URL"))
    redis_url: SecretStr | None = Field(default=None, validation_alias=AliasChoices("REDIS_URL"))
    openai_api_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("OPENAI_API_KEY"))
    openai_base_url: str | None = Field(default=None, validation_alias=AliasChoices("OPENAI_BASE_URL"))

    @field_validator(
        "encryption_keys",
        "verify_keys",
        "allowed_hosts",
        "trusted_origins",
        mode="before",
    )
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        return _split(value)

    @field_validator("encryption_keys")
    @classmethod
    def _usable_keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in value:
            try:
                Fernet(key.get_secret_value())
            except ValueError as error:
                message = "each key must be 32 url-safe base64-encoded bytes (make one with: manage.py make_keys)"
                raise ValueError(message) from error
        return value


def _from_files() -> dict[str, str]:
    """The secrets that are given as `NAME_FILE`, under the name of their variable."""
    found: dict[str, str] = {}
    for name in SECRETS:
        path = os.environ.get(f"{name}_FILE")
        if path:
            found[name] = Path(path).read_text(encoding="utf-8").strip()
    return found


def _variable(location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else ""
    return name if name.isupper() else f"ROUTEKIT_{name.upper()}"


def load() -> Environment:
    """Read and validate the environment; a bad value stops the process with one line that names the variable."""
    try:
        values: dict[str, Any] = _from_files()
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"routekit: a secret's file can't be read: {error}")
    os.environ.update(values)
    if os.environ.get("ROUTEKIT_DEMO", "").strip().lower() in {
        "1",
        "true",
        "yes",
        "on",
    }:
        for name, value in demo_keys(Path(os.environ.get("ROUTEKIT_DATA_DIR") or PROJECT / "var")).items():
            os.environ.setdefault(name, value)
    try:
        return Environment()
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        sys.exit(f"routekit: {_variable(first['loc'])}: {first['msg']}")
