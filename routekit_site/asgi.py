"""The ASGI application: HTTP by Django, the live feed by Channels."""

from __future__ import annotations

import gc
import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

from routekit_site import front_door, telemetry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "routekit_site.settings")
django_application = get_asgi_application()

from traces.consumers import past_middleware  # noqa: E402 - needs the app registry that the line above fills
from traces.routing import websocket_urlpatterns  # noqa: E402 - as above

front_door.close()
telemetry.start("web")
application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": front_door.with_readable_origin(
            AllowedHostsOriginValidator(past_middleware(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))))
        ),
    }
)
# Note [What the collector walks]: what was loaded stays for good. A full collection that walks it stops every page and
# socket for 0.24 s (when busy: 0.7 s), so it is taken out of the collector's sight. What is left are sockets: 0.1 s
# for a thousand. Such collections come a fifth as often; at worst 2,500 closed sockets wait for one, 33 KB each.
gc.collect()
gc.freeze()
gc.set_threshold(*gc.get_threshold()[:2], 50)
