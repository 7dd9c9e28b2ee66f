"""Rotation of the encryption keys: everything sealed anywhere in the house is sealed again under the newest key.

A sealed column is a binary one whose name ends in `_sealed`, on whatever floor it is; new ones are found by that name.
Rows are walked by primary key in small batches, each a transaction of its own, while the system runs: a value is
replaced only if it is still the one that was read, so nothing that somebody else writes meanwhile is lost. What is
under the newest key already is left alone, so a rotation that was interrupted, or that is run twice, does no harm.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from allauth.mfa.models import Authenticator
from django.apps import apps
from django.db import models, transaction

from routekit_site.tenancy.encryption import is_newest, reseal
from routekit_site.tenancy.errors import DecryptionFailed
from traces.models import TraceEvent
from traces.sealing import resealing

BATCH = 100
_NAMED = 20
# What the app's secret and the recovery codes' seed are called there.
_FACTOR_SECRETS = ("secret", "seed")

Sealed = tuple[type[models.Model], str]


@dataclass
class Count:
    """What was found in one column. `unreadable` counts values that no key opens; `named` are the first few rows."""

    column: str
    current: int = 0
    resealed: int = 0
    changed: int = 0
    unreadable: int = 0
    named: list[str] = field(default_factory=list)


def sealed_columns() -> list[Sealed]:
    """Every sealed column of the house, as model and field name, in a stable order."""
    found = [
        (model, column.name)
        for model in apps.get_models()
        for column in model._meta.local_concrete_fields  # noqa: SLF001 - Django's documented name
        if isinstance(column, models.BinaryField) and column.name.endswith("_sealed")
    ]
    return sorted(found, key=lambda each: (each[0]._meta.label, each[1]))  # noqa: SLF001 - as above


def rotate(sealed: Sealed, *, batch: int = BATCH, dry: bool = False) -> Count:
    """Seal all values of one column under the newest key; with `dry` only count. Opens its own transactions.

    Values that were replaced by somebody else while they were looked at are `changed`: they are under the key that the
    other process holds as its newest, so a second rotation tells whether that is the newest one here too.
    """
    model, column = sealed
    count = Count(f"{model._meta.label}.{column}")  # noqa: SLF001 - Django's documented name
    last: Any = None
    while True:
        rows = model._default_manager.exclude(**{column: None}).order_by("pk")  # noqa: SLF001 - as above
        if last is not None:
            rows = rows.filter(pk__gt=last)
        found = list(rows.values_list("pk", column)[:batch])
        if not found:
            return count
        _rotate_batch(sealed, found, count, dry=dry)
        last = found[-1][0]


def _rotate_batch(sealed: Sealed, found: list[tuple[Any, bytes]], count: Count, *, dry: bool) -> None:
    model, column = sealed
    fresh: list[tuple[Any, bytes, bytes]] = []
    for key, token in found:
        if not token or is_newest(token):
            count.current += 1
            continue
        try:
            fresh.append((key, bytes(token), reseal(token)))
        except DecryptionFailed:
            count.unreadable += 1
            count.named += [str(key)] if len(count.named) < _NAMED else []
    if dry or not fresh:
        count.changed += len(fresh)
        return
    with transaction.atomic(durable=True), resealing() if model is TraceEvent else nullcontext():
        for key, old, new in fresh:
            done = model._default_manager.filter(pk=key, **{column: old}).update(**{column: new})  # noqa: SLF001 - as above
            count.resealed += done
            count.changed += 1 - done


def rotate_second_factors(*, dry: bool = False) -> Count:
    """The same for the secrets of authenticator apps and recovery codes, which django-allauth keeps inside JSON.

    Each row is a transaction of its own. A recovery code that is used at that moment may put the old seed back: a
    second rotation finds it.
    """
    count = Count("mfa.Authenticator.data")
    for key in Authenticator.objects.order_by("pk").values_list("pk", flat=True):
        with transaction.atomic(durable=True):
            row = Authenticator.objects.select_for_update().filter(pk=key).first()
            if row is not None:
                _rotate_factor(row, count, dry=dry)
    return count


def _rotate_factor(row: Authenticator, count: Count, *, dry: bool) -> None:
    tokens = {name: row.data[name] for name in _FACTOR_SECRETS if isinstance(row.data.get(name), str)}
    old = {name: token for name, token in tokens.items() if not is_newest(token.encode())}
    count.current += len(tokens) - len(old)
    try:
        fresh = {name: reseal(token.encode()).decode("ascii") for name, token in old.items()}
    except DecryptionFailed:
        count.unreadable += len(old)
        count.named += [str(row.pk)] if len(count.named) < _NAMED else []
        return
    if dry:
        count.changed += len(fresh)
    elif fresh:
        row.data = {**row.data, **fresh}
        row.save(update_fields=["data"])
        count.resealed += len(fresh)
