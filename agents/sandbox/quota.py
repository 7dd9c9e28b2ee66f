"""Disk quota where the file system has none: the writable folders are counted while a call runs, and after it.

rlimits bound one file, not their number. Scratch folders at tier T2 are a tmpfs with a quota and need no watching.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agents.tools.limits import ResourceLimits

INTERVAL = 0.1
_BLOCK = 512


class QuotaError(Exception):
    """The writable folders hold more than they may."""


class DiskWatch:
    """The writable folders of one call, and how much they may hold in all."""

    def __init__(self, folders: tuple[str, ...], limits: ResourceLimits) -> None:
        self.folders = folders
        self.limits = limits
        self.before: set[tuple[int, int]] = set()
        with contextlib.suppress(QuotaError):
            self.before.update((info.st_dev, info.st_ino) for _, info in self._files())
        self._next = time.monotonic() + INTERVAL

    def check_now(self) -> None:
        """As `check`, at most every `INTERVAL` seconds."""
        if time.monotonic() >= self._next:
            self.check()
            self._next = time.monotonic() + INTERVAL

    def check(self) -> None:
        """Count.

        Raises:
            QuotaError: the folders hold too much.
        """
        used = 0
        for count, (_, info) in enumerate(self._files(), start=1):
            used += info.st_blocks * _BLOCK
            if count > self.limits.max_files:
                raise QuotaError(f"The agent's folders hold more than {self.limits.max_files} files.")
            if used > self.limits.max_disk_mb << 20:
                raise QuotaError(f"The agent's folders hold more than {self.limits.max_disk_mb} MB.")

    def clean_up(self) -> None:
        """After a quota was broken: remove the files that came into being during the call."""
        with contextlib.suppress(QuotaError):
            for path, info in self._files():
                if stat.S_ISREG(info.st_mode) and (info.st_dev, info.st_ino) not in self.before:
                    with contextlib.suppress(OSError):
                        os.unlink(path)  # noqa: PTH108 -- the path is one that scandir gave

    def _files(self) -> Iterator[tuple[str, os.stat_result]]:
        """Everything below the folders.

        Raises:
            QuotaError: a folder that can't be listed, such as one nested deeper than a path can say, which could hide
                any number of files.
        """
        pending = list(self.folders)
        while pending:
            folder = pending.pop()
            try:
                with os.scandir(folder) as entries:
                    found = [(entry.path, entry.stat(follow_symlinks=False)) for entry in entries]
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise QuotaError(f"The agent's folders hold one that can't be counted: {error.strerror}.") from None
            pending += [path for path, info in found if stat.S_ISDIR(info.st_mode)]
            yield from found
