"""A TCP proxy that the tests own: what runs through it can be cut, refused, slowed down and held back."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from urllib.parse import urlsplit, urlunsplit


class Wire:
    """Listens on a port of its own and passes everything on to one server."""

    def __init__(self, url: str, default_port: int) -> None:
        self._url = url
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or default_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._open = True
        self.refusing = False
        self.delay = 0.0
        # Everybody stays connected, and nobody is answered: a server that hangs, a network that lost its way.
        self.silent = False
        threading.Thread(target=self._accept, name="wire", daemon=True).start()

    @property
    def url(self) -> str:
        """The server's address, through this wire."""
        parts = urlsplit(self._url)
        user = f"{parts.username}@" if parts.username else ""
        return urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{self._listener.getsockname()[1]}"))

    def cut(self) -> int:
        """Break every connection now; how many."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        return len(pairs)

    def close(self) -> None:
        """The end of it."""
        self._open = False
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while self._open:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                near.close()
                continue
            threading.Thread(target=self._serve, args=(near,), name="wire", daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target, timeout=10)
        except OSError:
            near.close()
            return
        pair = (near, far)
        with self._lock:
            self._pairs.add(pair)
        try:
            self._pass_on(near, far)
        finally:
            with self._lock:
                self._pairs.discard(pair)
            near.close()
            far.close()

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        while True:
            ready = select.select([near, far], [], [], 60)[0]
            while self.silent and self._open:
                time.sleep(0.05)
            for source in ready:
                try:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is near and self.delay:
                        time.sleep(self.delay)
                    (far if source is near else near).sendall(data)
                except OSError:
                    return
