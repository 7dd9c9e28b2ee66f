"""The ASGI application: HTTP by Django, the live feed by Channels."""

from __future__ import annotations

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

from routekit_site import front_door, telemetry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "routekit_site.settings")
django_application = get_asgi_application()

from traces.routing import websocket_urlpatterns  # noqa: E402 - needs the app registry that the line above fills

front_door.close()
telemetry.start("web")
application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": front_door.with_readable_origin(
            AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))
        ),
    }
)
