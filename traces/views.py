"""What a signed link to a shared trace gives. No sign-in: the link is the permission, and it ends."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from traces import export
from traces.downloads import as_file
from traces.errors import BadLink


@require_safe
@never_cache
def shared(_request: HttpRequest, token: str) -> HttpResponse:
    """The file behind a link, or 404 with one sentence for whatever is wrong with it."""
    try:
        return as_file(export.opened(token, timezone.now()))
    except BadLink as error:
        raise Http404(str(error)) from error
