"""The WebSocket addresses."""

from __future__ import annotations

from django.urls import URLPattern, path, re_path

from traces.consumers import feed, nothing_here

websocket_urlpatterns: list[URLPattern] = [
    path("ws/feed/", feed),  # type: ignore[arg-type]
    # Channels answers an address that it does not know with an error and a traceback in the log.
    re_path("", nothing_here),  # type: ignore[arg-type]
]
