"""The page that the demo's agents fetch: served by the site itself, so that the demo needs no other machine."""

from __future__ import annotations

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

_PAGE = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Harbour notes</title></head>
<body>
<h1>Harbour notes</h1>
<p>The ferry to Lindholm leaves at 07:40 and 16:15. Bicycles travel free on weekdays.</p>
<p>The market hall is closed on the first Monday of the month.</p>
</body>
</html>
"""


@require_safe
def demo_page(_request: HttpRequest) -> HttpResponse:
    """A short page to fetch. There is no such address outside demo mode."""
    if not settings.DEMO:
        raise Http404
    return HttpResponse(_PAGE)
