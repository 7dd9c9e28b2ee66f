"""The whole site in one process: Daphne in the main thread, a Celery worker and beat in threads of their own."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable

from celery import Celery
from celery.beat import Service
from celery.signals import worker_shutting_down
from celery.worker import WorkController
from celery.worker import state as worker_state
from daphne.server import Server

from routekit_site.asgi import application
from routekit_site.celery import app
from routekit_site.env import Address
from routekit_site.supervision import Supervised

CONCURRENCY = 4
BACKLOG = 128
# What is still running after this long is left to its lease: the next start, or another worker, takes it up.
STOP_WITHIN = 1.5
# A browser says "ping" and "I look at this call". Daphne would hold a megabyte of whatever else it is sent.
MAX_SOCKET_MESSAGE = 8192


class PortTaken(Exception):
    """The address can't be listened on."""


def listen(address: Address) -> socket.socket:
    """A listening socket, taken before anything else is started.

    Raises:
        PortTaken: another process has the port, or the machine has no such address.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        message = f"{address.host} is no address of this machine ({error.strerror})"
        raise PortTaken(message) from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(where)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        message = f"{address.host}:{address.port} can't be used: {(error.strerror or 'unknown error').lower()}"
        raise PortTaken(message) from error
    listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return listener


class EmbeddedWorker:
    """A Celery worker that lives in a thread: no signal handlers, no child processes."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery

    def run(self) -> None:
        """Work until `stop`. Returns, too, when the worker gives up."""
        # The worker's wish to stop is a module variable of Celery; one that was left standing would end this one.
        worker_state.should_stop = None
        controller: WorkController = self._celery.WorkController(
            pool_cls="threads",
            concurrency=CONCURRENCY,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        controller.start()

    def stop(self) -> None:
        """Ask it to stop, and ring: it looks for the wish only between two messages.

        Celery's own command would announce the stop, so that runs which are being worked on are let go.
        """
        worker_shutting_down.send(sender="embedded", sig="SIGTERM", how="Warm", exitcode=os.EX_OK)
        worker_state.should_stop = os.EX_OK  # type: ignore[assignment]  # the stubs know None only
        with contextlib.suppress(OSError):
            self._celery.control.broadcast("ping")


class EmbeddedBeat:
    """Celery's clock in a thread."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery
        self._service: Service | None = None

    def run(self) -> None:
        """Tick until `stop`."""
        self._celery.set_current()
        self._service = Service(self._celery, scheduler_cls=self._celery.conf.beat_scheduler)
        self._service.start()

    def stop(self) -> None:
        """End at the next tick."""
        if self._service is not None:
            self._service.stop()


def serve(listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM, then stop within two seconds. Never returns.

    Work that has not ended by then is broken off with the process: a run's lease brings it back at the next start.
    """
    worker, beat = EmbeddedWorker(app), EmbeddedBeat(app)
    supervised = [Supervised("worker", worker.run), Supervised("beat", beat.run)]
    for thread in supervised:
        thread.start()
    Server(
        application,
        endpoints=[f"fd:fileno={listener.fileno()}"],
        ready_callable=on_ready,
        server_name="routekit",
        verbosity=0,
        application_close_timeout=1,
        websocket_max_message_size=MAX_SOCKET_MESSAGE,
        websocket_max_frame_size=MAX_SOCKET_MESSAGE,
    ).run()
    for thread in supervised:
        thread.stop()
    worker.stop()
    beat.stop()
    for thread in supervised:
        thread.join(STOP_WITHIN / len(supervised))
    _leave()


def _leave() -> None:
    """End the process now: the threads of a pool would otherwise hold it until their last call has ended."""
    sys.stdout.flush()
    sys.stderr.flush()
    if threading.active_count() > 1:
        os._exit(os.EX_OK)
    sys.exit(os.EX_OK)
