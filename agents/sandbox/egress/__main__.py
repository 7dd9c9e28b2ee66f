"""`python -m agents.sandbox.egress`: the broker as a service of its own. Needs no settings and holds no key.

Listens on the unix socket that ROUTEKIT_EGRESS_SOCKET names; the workers find it there under the same variable.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from agents.sandbox.egress import broker
from agents.sandbox.egress.session import SOCKET_VARIABLE


def main() -> None:
    """Serve until SIGTERM; a missing or unusable socket path ends it with one line."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO)
    path = os.environ.get(SOCKET_VARIABLE, "")
    if not path:
        sys.exit(f"routekit: {SOCKET_VARIABLE}: is missing; it is where the workers look for the broker")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        listener = broker.listen(path)
    except OSError as error:
        sys.exit(f"routekit: {SOCKET_VARIABLE}: {path} can't be listened on ({error.strerror})")
    broker.main(listener)


if __name__ == "__main__":
    main()
