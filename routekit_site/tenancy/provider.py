"""Pages with a form that leads to the operator's OpenID Connect provider."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import requests
from csp.decorators import csp_update
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render

logger = logging.getLogger(__name__)

P = ParamSpec("P")


def leads_to_provider(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Allow forms of this page to end at the provider: browsers hold `form-action` against a form's redirects too."""

    @wraps(view)
    def answered(request: HttpRequest, /, *args: object, **kwargs: object) -> HttpResponseBase:
        if not settings.OIDC_ORIGIN:
            return view(request, *args, **kwargs)
        answer: HttpResponseBase = csp_update({"form-action": [settings.OIDC_ORIGIN]})(view)(request, *args, **kwargs)
        return answer

    return answered


def asks_provider(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A provider that is away, or that answers with something else than it should, is a page and no error of ours."""

    @wraps(view)
    def answered(request: HttpRequest, /, *args: object, **kwargs: object) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except (requests.RequestException, KeyError, ValueError) as error:
            logger.warning("the OpenID Connect provider could not be asked (%s)", type(error).__name__)
            return render(request, "socialaccount/authentication_error.html", status=401)

    return answered
