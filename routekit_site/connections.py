"""What the site is connected to, as Django's settings name it: database, Redis, mail server, and its own address.

Note [Patience]: PostgreSQL by itself lets everybody wait for ever: for a lock, for a process that hangs in the middle
of a transaction, for a host that is gone without a word. So whoever asks says how long. A request of the web tier waits
two seconds for a lock and half a minute for a statement, then the person is told to try again (503); workers and
commands, migrations among them, wait five seconds for a lock, so that a migration which does not get its table lets
others pass, and is run again. The server ends a transaction in which nothing happens for 15 seconds: that is less than
a lease, and more than ours take between two statements. A host that says nothing is given up after 15 seconds, too.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import dj_database_url

from routekit_site.env import Environment

_SQLITE_OPTIONS: dict[str, Any] = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    # The log grows while somebody reads and does not end; once that is over, all but 16 MB is given back.
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA journal_size_limit=16777216;",
}

# See Note [Patience]. What libpq does while it waits, in seconds but for the last one's milliseconds.
_PATIENT_CONNECTION: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
# What the server ends by itself, in milliseconds.
_PATIENCE = {"lock_timeout": 5_000, "idle_in_transaction_session_timeout": 15_000}
_PATIENCE_OF_A_REQUEST = {"lock_timeout": 2_000, "statement_timeout": 30_000}


def database(environment: Environment) -> dict[str, Any]:
    """One entry of `DATABASES`. Without an address: a SQLite file in the data directory, which is made if needed."""
    if environment.database_url is None:
        environment.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = environment.data_dir / "routekit.sqlite3"
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": name,
            "OPTIONS": _SQLITE_OPTIONS,
        }
    parsed: dict[str, Any] = dict(dj_database_url.parse(environment.database_url.get_secret_value()))
    if "sqlite" in parsed["ENGINE"]:
        return parsed | {"OPTIONS": _SQLITE_OPTIONS}
    # How many uses make a statement worth keeping on the server; `tenancy.statements` keeps its own from the first on.
    options = {**_PATIENT_CONNECTION, **parsed.get("OPTIONS", {}), "prepare_threshold": 5}
    patience = {**_PATIENCE, **(_PATIENCE_OF_A_REQUEST if environment.database_pool else {})}
    # What the address itself asks for comes last, and wins.
    ours = [f"-c {name}={milliseconds}" for name, milliseconds in patience.items()]
    options["options"] = " ".join([*ours, options.get("options", "")]).strip()
    # Daphne runs each request in a thread of its own, whose connection would be lost with it: the web tier shares a
    # pool. A worker's threads or processes live long and keep one connection each.
    if environment.database_pool:
        pool = {"min_size": 1, "max_size": environment.database_pool, "timeout": 5}
        # Looked at as it is taken out: else the first requests after a restart of the server would meet dead ones.
        return parsed | {"OPTIONS": {**options, "pool": pool}, "CONN_HEALTH_CHECKS": True}
    return parsed | {"OPTIONS": options, "CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": True}


def cache(redis_url: str | None) -> dict[str, Any]:
    """One entry of `CACHES`: Redis, or this process's memory where there is none."""
    if redis_url is None:
        return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": redis_url,
        "KEY_PREFIX": "routekit",
        "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 2},
    }


def channel_layer(redis_url: str | None) -> dict[str, Any]:
    """One entry of `CHANNEL_LAYERS`, likewise."""
    if redis_url is None:
        return {"BACKEND": "traces.channel_layer.ThreadSafeInMemoryChannelLayer"}
    # A socket time-out would close idle browsers' sockets after seconds (channels_redis #422).
    host: dict[str, Any] = {"address": redis_url, "socket_timeout": None}
    # Redis has one publish-subscribe space for all its database numbers: the prefix keeps two sites apart.
    prefix = f"routekit{urlsplit(redis_url).path.replace('/', '-')}"
    return {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [host], "prefix": prefix},
    }


def mail(environment: Environment) -> dict[str, Any]:
    """The settings of e-mail: a server's, files in the data directory for a demo, or none, when nothing is sent."""
    if environment.email_url:
        return _mail_server(environment.email_url.get_secret_value())
    if environment.demo:
        return {
            "EMAIL_BACKEND": "django.core.mail.backends.filebased.EmailBackend",
            "EMAIL_FILE_PATH": environment.data_dir / "mail",
        }
    return {"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}


def _mail_server(url: str) -> dict[str, Any]:
    """Those of `smtp://user:password@host:port`: STARTTLS from there on, TLS at once with `smtps`."""
    parts = urlsplit(url)
    at_once = parts.scheme == "smtps"
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname or "localhost",
        "EMAIL_PORT": parts.port or (465 if at_once else 587),
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": at_once,
        # A server without a password, on this host or the next, often speaks no TLS; a password is never sent in clear.
        "EMAIL_USE_TLS": not at_once and bool(parts.username),
    }


def site_url(environment: Environment) -> str:
    """Where people open the site, for links in e-mails and webhooks: as set, or the best guess."""
    if environment.site_url:
        return environment.site_url
    if environment.trusted_origins:
        return environment.trusted_origins[0].rstrip("/")
    if environment.demo:
        return f"http://{environment.bind}"
    return f"http{'s' * environment.https}://{environment.allowed_hosts[0]}"
