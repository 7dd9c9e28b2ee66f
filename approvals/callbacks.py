"""Asks the approval callback of a policy, which the operator of the site wrote and this house does not trust.

A callback is a function, sync or async, of one `CallFacts`. It gets a frozen copy, has a time limit, and counts only
when it returns exactly "approve", "deny" or "ask": anything else, an exception or a timeout is "ask". Only callbacks
that the operator named in `ROUTEKIT_APPROVAL_CALLBACKS` are ever imported, since a tenant's admin chooses among them.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import Literal, cast

from django.conf import settings
from django.db import connections
from django.utils.module_loading import import_string

from approvals.policy import denial, gated_permissions
from approvals.types import CallFacts, JSONValue, PolicyFacts

Answer = Literal["approve", "deny", "ask"]
_ANSWERS = frozenset({"approve", "deny", "ask"})
_MAX_UNFINISHED = 16

logger = logging.getLogger(__name__)
_slots = threading.BoundedSemaphore(_MAX_UNFINISHED)


def frozen(value: JSONValue) -> JSONValue:
    """A copy of a JSON value that can't be changed: read-only mappings, tuples."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: frozen(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(frozen(item) for item in value)
    return copy.deepcopy(value)


def consulted(call: CallFacts, policy: PolicyFacts) -> CallFacts:
    """The call with the callback's answer, where the policy has a callback and the call uses a gated permission.

    Blocks for at most `callback_timeout_seconds`; call it outside any transaction.
    """
    gate = policy.hooks.approval_gate
    if gate is None or not gate.approval_callback:
        return call
    if not gated_permissions(call, policy) or denial(call.tool, policy) is not None:
        return call
    return replace(call, callback_answer=answer(gate.approval_callback, call, gate.callback_timeout_seconds))


def answer(dotted_path: str, call: CallFacts, timeout: float) -> Answer:
    """What the callback says of the call within `timeout` seconds; "ask" where it says nothing usable.

    Python can't stop a thread: a callback that never returns keeps one. After 16 of them every answer is "ask" at once.
    """
    if dotted_path not in settings.ROUTEKIT_APPROVAL_CALLBACKS:
        logger.error("approval callback %s is not named in ROUTEKIT_APPROVAL_CALLBACKS", dotted_path)
        return "ask"
    if not _slots.acquire(blocking=False):
        logger.error("approval callback %s not asked: %d earlier calls never returned", dotted_path, _MAX_UNFINISHED)
        return "ask"
    box: SimpleQueue[object] = SimpleQueue()
    copied = replace(call, arguments=frozen(call.arguments), callback_answer=None)
    thread = threading.Thread(
        target=_run, args=(dotted_path, copied, timeout, box), name=f"callback {dotted_path}", daemon=True
    )
    try:
        thread.start()
    except RuntimeError:
        _slots.release()
        logger.exception("approval callback %s not asked: no thread could be started", dotted_path)
        return "ask"
    try:
        said = box.get(timeout=timeout)
    except Empty:
        logger.warning("approval callback %s took more than %s s", dotted_path, timeout)
        return "ask"
    if type(said) is str and said in _ANSWERS:
        return cast("Answer", said)
    logger.warning("approval callback %s returned no answer but a %s", dotted_path, type(said).__name__)
    return "ask"


def _run(dotted_path: str, call: CallFacts, timeout: float, box: SimpleQueue[object]) -> None:
    try:
        box.put(_returned(import_string(dotted_path), call, timeout))
    except BaseException as error:  # noqa: BLE001 - whatever a stranger's code raises, a person is asked
        box.put(error)
    finally:
        connections.close_all()
        _slots.release()


def _returned(callback: Callable[[CallFacts], object], call: CallFacts, timeout: float) -> object:
    said = callback(call)
    if not inspect.isawaitable(said):
        return said

    async def awaited() -> object:
        return await asyncio.wait_for(said, timeout)

    return asyncio.run(awaited())
