"""Approval callbacks as operators write them, well and badly."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from approvals.types import CallFacts

RELEASE = threading.Event()
SEEN: list[CallFacts] = []


def approve(call: CallFacts) -> str:
    SEEN.append(call)
    return "approve"


def deny(_call: CallFacts) -> str:
    return "deny"


def think(_call: CallFacts) -> str:
    """What `thinking` comes to: for a test to put something else here."""
    return "ask"


def thinking(call: CallFacts) -> str:
    return think(call)


async def deny_async(_call: CallFacts) -> str:
    await asyncio.sleep(0)
    return "deny"


async def refuse_async(_call: CallFacts) -> bool:
    await asyncio.sleep(0)
    return False


def rejected(_call: CallFacts) -> str:
    return "rejected"


def true(_call: CallFacts) -> bool:
    return True


def nothing(_call: CallFacts) -> None:
    return None


class Sly(str):
    """Equal to what it is not."""

    __slots__ = ()


def sly(_call: CallFacts) -> str:
    return Sly("approve")


def broken(_call: CallFacts) -> str:
    raise ValueError("no")


def leaving(_call: CallFacts) -> str:
    raise SystemExit


def stuck(_call: CallFacts) -> str:
    RELEASE.wait(30)
    return "approve"


async def stuck_async(_call: CallFacts) -> str:
    await asyncio.sleep(30)
    return "approve"


def meddling(call: Any) -> str:
    call.arguments["path"] = "elsewhere"
    return "approve"


def meddling_deep(call: Any) -> str:
    call.arguments["options"]["names"].append("x")
    return "approve"


def reassigning(call: Any) -> str:
    call.tool = "other"
    return "approve"
