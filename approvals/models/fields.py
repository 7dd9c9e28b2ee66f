"""Columns that are stored otherwise than they are read."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.fields.json import KeyTransform

from approvals.packing import PackedView, pack, unpack


class ViewField(models.JSONField):
    """A gate's view. A `PackedView` is stored packed; what is read is the view, however it was stored."""

    def deconstruct(self) -> Any:
        """As the column that it is: how it is filled is no matter of the database's."""
        name, _path, arguments, named = super().deconstruct()
        return name, "django.db.models.JSONField", arguments, named

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:  # noqa: FBT001, FBT002 - Django's own
        """What the database gets."""
        return super().get_db_prep_value(pack(value) if isinstance(value, PackedView) else value, connection, prepared)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """What was stored, unpacked; of a part that a query has asked for, what stands there."""
        found = super().from_db_value(value, expression, connection)
        return found if isinstance(expression, KeyTransform) else unpack(found)
