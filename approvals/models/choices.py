"""Enumerations as Django wants them."""

from __future__ import annotations

from enum import StrEnum


def choices(values: type[StrEnum]) -> list[tuple[str, str]]:
    """The members of an enumeration as (value, words)."""
    return [(value.value, value.value.replace("_", " ")) for value in values]
