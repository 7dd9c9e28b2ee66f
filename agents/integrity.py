"""Whether the rows that decide what a run does next are as the application wrote them (AISVS 9.4.4).

Each of them carries an HMAC over the columns that decide: a run, its replies, its calls. Whoever writes such a row
writes the HMAC with it, in the same statement; whoever is about to act on one checks it first. So a row that somebody
changed in the database stops its run, by name, instead of steering it.

The keys are derived from `ROUTEKIT_ENCRYPTION_KEYS`: the newest signs, all of them verify, and rows move to the newest
key as they are written (`manage.py reseal_state` moves the rest). What is sealed is covered by digests of its plain
text, so that sealing it anew changes nothing.

It does not notice a whole row that is put back to what it was at an earlier moment; approvals are single-use by
themselves, and the ledger tells. Leases, bells and times are not covered: they say when, not what.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from agents.errors import StateChanged
from agents.models import ModelReply, Run, ToolCall
from approvals.canonical import canonical
from routekit_site.tenancy.encryption import derived_keys, fingerprint

_LENGTH = 32
_RUN = (
    "id",
    "tenant_id",
    "agent_id",
    "agent_version",
    "submitter_id",
    "prompt_digest",
    "state",
    "fence",
    "engine",
    "crashes",
    "model_failures",
    "cancel_requested_at",
    "max_steps",
    "max_tokens",
    "max_cost_microdollars",
    "time_limit_seconds",
    "worked_milliseconds",
    "steps",
    "input_tokens",
    "output_tokens",
    "cost_microdollars",
)
_CALL = (
    "id",
    "run_id",
    "step",
    "position",
    "call_id",
    "tool",
    "arguments_digest",
    "state",
    "gate_id",
    "attempts",
    "outcome",
    "result_digest",
)


def digest_of(tenant_id: int, text: str) -> str:
    """A keyed digest of raw text: binds what is sealed to its row without telling it."""
    return fingerprint(tenant_id, text.encode())[:_LENGTH]


def run_mac(run: Run, changes: Mapping[str, Any] | None = None) -> str:
    """The HMAC of a run as it will be with `changes`; "", which never holds, where the run does not hold itself."""
    if changes is not None and not _holds(run.mac, _values(run, _RUN, {})):
        return ""
    return _mac(_values(run, _RUN, changes or {}))


def call_mac(call: ToolCall, changes: Mapping[str, Any] | None = None) -> str:
    """As `run_mac`, for a call."""
    if changes is not None and not _holds(call.mac, _values(call, _CALL, {})):
        return ""
    return _mac(_values(call, _CALL, changes or {}))


def reply_mac(reply: ModelReply, text: str, calls: Iterable[ToolCall]) -> str:
    """The HMAC of a reply with its raw text and the ids of all its calls, in their order."""
    return _mac(_reply_values(reply, text, calls))


def check_run(run: Run) -> None:
    """Raises `StateChanged` where a run is not as it was written."""
    if not _holds(run.mac, _values(run, _RUN, {})):
        raise StateChanged(f"run {run.pk}")


def check_prompt(run: Run, prompt: str) -> None:
    """Raises `StateChanged` where the unsealed prompt is not that of the run."""
    if not hmac.compare_digest(digest_of(run.tenant_id, prompt), run.prompt_digest):
        raise StateChanged(f"the prompt of run {run.pk}")


def check_call(call: ToolCall) -> None:
    """Raises `StateChanged` where a call is not as it was written."""
    if not _holds(call.mac, _values(call, _CALL, {})):
        raise StateChanged(f"call {call.pk}")


def check_arguments(call: ToolCall, tenant_id: int, arguments: Any) -> None:
    """Raises `StateChanged` where the unsealed arguments are not those of the call."""
    if not hmac.compare_digest(fingerprint(tenant_id, canonical(arguments)), call.arguments_digest):
        raise StateChanged(f"the arguments of call {call.pk}")


def check_result(call: ToolCall, tenant_id: int, told: str) -> None:
    """Raises `StateChanged` where the unsealed result is not that of the call."""
    if not hmac.compare_digest(digest_of(tenant_id, told), call.result_digest):
        raise StateChanged(f"the result of call {call.pk}")


def check_reply(reply: ModelReply, text: str, calls: Iterable[ToolCall]) -> None:
    """Raises `StateChanged` where a reply is not as it was written, or has other calls than it had."""
    if not _holds(reply.mac, _reply_values(reply, text, calls)):
        raise StateChanged(f"reply {reply.step} of run {reply.run_id}")


def _values(row: Run | ToolCall, names: tuple[str, ...], changes: Mapping[str, Any]) -> list[Any]:
    return [names[0], *(changes[name] if name in changes else getattr(row, name) for name in names)]


def _reply_values(reply: ModelReply, text: str, calls: Iterable[ToolCall]) -> list[Any]:
    ids = [call.pk for call in sorted(calls, key=lambda call: call.position)]
    plain = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return ["reply", reply.run_id, reply.step, plain, reply.finish_reason, *ids]


def _holds(mac: str, values: list[Any]) -> bool:
    message = orjson.dumps(values)
    return any(hmac.compare_digest(_under(key, message), mac) for key in derived_keys("run state"))


def _mac(values: list[Any]) -> str:
    return _under(derived_keys("run state")[0], orjson.dumps(values))


def _under(key: bytes, message: bytes) -> str:
    return hmac.digest(key, message, "sha256").hex()[:_LENGTH]
