"""The WebSocket addresses."""

from __future__ import annotations

from django.urls import URLPattern, path

from traces.consumers import feed

websocket_urlpatterns: list[URLPattern] = [path("ws/feed/", feed)]  # type: ignore[arg-type]
