"""Read by Python at its start, on the path of processes under a wrong clock: `time.sleep` without `clock_nanosleep`.

libfaketime up to 0.9.10 moves what `time.sleep` asks the kernel for (CLOCK_MONOTONIC, since Python 3.11) although it
was told to leave that clock alone, and every sleep fails with EINVAL (its issue 426). Then no heartbeat beats and no
sweep comes, which is not what a wrong clock does to a site.
"""

from __future__ import annotations

import select
import time
from typing import SupportsIndex


def sleep(seconds: float | SupportsIndex, /) -> None:
    """As `time.sleep`."""
    if float(seconds) < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], float(seconds))


time.sleep = sleep
