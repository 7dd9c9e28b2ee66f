"""Lists that page by where they stand, not by number: no COUNT, no OFFSET, the last page as fast as the first."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.core.paginator import Page, Paginator
from django.db.models import Q, QuerySet
from django.db.models.expressions import Combinable
from django.http import HttpRequest
from django.utils.dateparse import parse_datetime

CURSOR = "before"


def _parsed(cursor: str) -> tuple[datetime, str] | None:
    at, _, key = cursor.partition("~")
    try:
        moment = parse_datetime(at)
    except ValueError:
        return None
    return (moment, key) if moment is not None and moment.tzinfo is not None and key else None


class KeysetChangeList(ChangeList):
    """A change list over rows in order of a time, newest first; `?before=<time>~<key>` continues it."""

    time_field: ClassVar[str]
    key_field: ClassVar[str] = "pk"
    older_link: str = ""

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """What the filters see: everything but the cursor."""
        found: dict[str, Any] = super().get_filters_params(params)
        found.pop(CURSOR, None)
        return found

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str | Combinable]:  # noqa: ARG002 - Django's signature
        """Newest first, always: the cursor counts on it."""
        return [f"-{self.time_field}", f"-{self.key_field}"]

    def get_results(self, request: HttpRequest) -> None:
        """Read one page and a row more, which tells whether there is an older page."""
        rows = list(self._after_cursor(request.GET.get(CURSOR, ""))[: self.list_per_page + 1])
        more = len(rows) > self.list_per_page
        self.result_list = rows[: self.list_per_page]
        self.result_count = len(self.result_list)
        # Equal, so that no sentence about a total is written.
        self.full_result_count = self.result_count
        self.show_full_result_count = False
        self.show_admin_actions = False
        self.can_show_all = False
        self.multi_page = False
        self.paginator = Paginator(self.result_list, self.list_per_page)
        self.page = Page(self.result_list, 1, self.paginator)
        self.older_link = self._older(request) if more else ""

    def _after_cursor(self, cursor: str) -> QuerySet[Any]:
        found = _parsed(cursor)
        rows: QuerySet[Any] = self.queryset
        if found is None:
            return rows
        at, key = found
        try:
            key = self.model._meta.pk.to_python(key)  # noqa: SLF001 - Django's documented name
        except ValidationError:
            return rows.none()
        # The first condition is implied by the second, and is one that an index understands.
        older = Q(**{f"{self.time_field}__lt": at}) | Q(**{self.time_field: at, f"{self.key_field}__lt": key})
        return rows.filter(older, **{f"{self.time_field}__lte": at})

    def _older(self, request: HttpRequest) -> str:
        last = self.result_list[-1]
        at = getattr(last, self.time_field).isoformat()
        others = {key: value for key, value in request.GET.items() if key not in {CURSOR, "p"}}
        return f"?{urlencode({**others, CURSOR: f'{at}~{last.pk}'})}"
