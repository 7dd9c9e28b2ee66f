"""The redactor of each tenant: its `RedactionPolicy`, compiled once a process and version.

The version is read from the database each time (one primary-key look-up), and once for all that one transaction tells
(see Note [Told at the end]), so a policy that was saved a moment ago holds in every process with the next value stored.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from django.db.models import OuterRef, Subquery, Value
from django.db.models.functions import Coalesce

from routekit_site.tenancy.encryption import tenant_key
from routekit_site.tenancy.statements import Write, execute
from traces.gathering import part_of
from traces.models import RedactionPolicy
from traces.payloads import plain
from traces.redaction import REDACTOR_VERSION, PIIRedactionHook, Redactor

logger = logging.getLogger(__name__)

FAILED = "[redaction failed]"
_VERSIONS_PER_ENGINE = 1_000_000

# For statements that fetch the policy's version beside what they came for; 0 is "no row, the defaults hold".
POLICY_VERSION_SQL = "COALESCE((SELECT version FROM traces_redactionpolicy p WHERE p.tenant_id = {table}.tenant_id), 0)"
_POLICY_VERSION = "SELECT version FROM traces_redactionpolicy WHERE tenant_id = %s"


def default_hook() -> PIIRedactionHook:
    """What holds for a tenant that has set nothing: everything but IP addresses, with typed tokens."""
    return PIIRedactionHook(mode="typed")


@lru_cache(maxsize=512)
def _compiled(tenant_id: int, version: int) -> tuple[int, Redactor]:
    """The redactor, and the version of the row that it was really made from."""
    policy = RedactionPolicy.objects.filter(tenant_id=tenant_id).first() if version else None
    hook = stored_hook(policy.hook) if policy else default_hook()
    return (policy.version if policy else 0), compiled_for(tenant_id, hook)


def stored_hook(stored: Mapping[str, Any]) -> PIIRedactionHook:
    """A hook from its stored JSON.

    Its patterns were probed for speed when they were saved. They are not probed again: a busy machine would fail them,
    and with them every value of the tenant.
    """
    hook = PIIRedactionHook.model_validate({**stored, "redact_patterns": ()})
    patterns = tuple((str(pattern), str(template)) for pattern, template in stored.get("redact_patterns", ()))
    return hook.model_copy(update={"redact_patterns": patterns})


def compiled_for(tenant_id: int, hook: PIIRedactionHook) -> Redactor:
    """The redactor of a hook, with the tenant's own key where pseudonyms are asked for."""
    key = tenant_key(tenant_id, "pseudonym") if hook.mode == "pseudonym" else None
    return hook.compile(key)


class Versions:
    """The policy versions that a gathered block has seen (see `gathering.Part`); it writes nothing."""

    order: ClassVar[int] = 0

    def __init__(self) -> None:
        self.known: dict[int, int] = {}

    def write(self, waiting: list[Write]) -> None:
        pass


def policy_version(tenant_id: int) -> int:
    """The version of the tenant's redaction policy; 0 where the defaults hold."""
    seen = part_of(Versions)
    if seen is None:
        return _policy_version(tenant_id)
    if tenant_id not in seen.known:
        seen.known[tenant_id] = _policy_version(tenant_id)
    return seen.known[tenant_id]


def version_column(tenant: str) -> Coalesce:
    """The version as a column of a QuerySet whose column `tenant` is the tenant's id; see `note_version`."""
    found = RedactionPolicy.objects.filter(tenant_id=OuterRef(tenant)).values("version")
    return Coalesce(Subquery(found), Value(0))


def note_version(tenant_id: int, version: int) -> int:
    """Tell a gathered block the version that a statement of the caller's has read; the one that holds in the block."""
    seen = part_of(Versions)
    return version if seen is None else seen.known.setdefault(tenant_id, version)


def _policy_version(tenant_id: int) -> int:
    found = execute(_POLICY_VERSION, [tenant_id])
    return int(found[0][0]) if found else 0


def redactor_of(tenant_id: int, version: int) -> Redactor:
    """The redactor of a tenant whose policy version is known to be `version`.

    Raises:
        pydantic.ValidationError: the stored policy is not one (it was changed behind the admin's back).
    """
    found, redactor = _compiled(tenant_id, version)
    if found != version:
        _compiled.cache_clear()
        redactor = _compiled(tenant_id, version)[1]
    return redactor


def redactor_for(tenant_id: int) -> Redactor:
    """The tenant's redactor as its policy stands now. Compile errors raise; `redact` is the call that never does."""
    return redactor_of(tenant_id, policy_version(tenant_id))


def combined_version(version: int) -> int:
    """Engine version and policy version in one number, as stored with events and gates."""
    return REDACTOR_VERSION * _VERSIONS_PER_ENGINE + version


def redactor_version(tenant_id: int) -> int:
    """The number that says with which engine and policy the tenant's values are redacted now."""
    return combined_version(policy_version(tenant_id))


@dataclass(frozen=True)
class Failure:
    """A redaction that failed; `error` is the class of what was raised, whose text could hold the value."""

    error: str


def attempt(tenant_id: int, version: int, value: object) -> Any | Failure:
    """`value` as plain, redacted JSON under a known policy version, or why there is none. Never raises."""
    try:
        redactor = redactor_of(tenant_id, version)
        return redactor.redact(plain(value, lambda text: redactor.stream().feed(text)))
    except Exception as error:  # noqa: BLE001 - whatever went wrong, nothing raw may pass
        logger.error(  # noqa: TRY400 - a traceback could show the value
            "redaction failed for tenant %s: %s; stored as %s", tenant_id, type(error).__name__, FAILED
        )
        return Failure(type(error).__name__)


def redact_under(tenant_id: int, version: int, value: object) -> Any:
    """`value` as plain, redacted JSON under a known policy version; `[redaction failed]` where that fails.

    Never raises and never returns what it was given unredacted.
    """
    redacted = attempt(tenant_id, version, value)
    return FAILED if isinstance(redacted, Failure) else redacted


def redact(tenant_id: int, value: object) -> Any:
    """`value` as plain, redacted JSON under the tenant's policy of now; never raises (see `redact_under`)."""
    try:
        version = policy_version(tenant_id)
    except Exception as error:  # noqa: BLE001 - as above
        logger.error("redaction failed for tenant %s: %s", tenant_id, type(error).__name__)  # noqa: TRY400
        return FAILED
    return redact_under(tenant_id, version, value)
