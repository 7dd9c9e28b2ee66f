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
_LONG = 2000


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
        """After a quota was broken: remove what came into being during the call, so that the next call finds room.

        Folders nested deeper than a path can say are moved up until it can, and opened where they were made closed.
        """
        made: list[str] = []
        for top in self.folders:
            pending = [top]
            while pending:
                folder = pending.pop()
                for path, info in _entries(folder):
                    new = (info.st_dev, info.st_ino) not in self.before
                    if stat.S_ISDIR(info.st_mode):
                        if new:
                            _open_up(path)
                        place = _moved_up(path, top, len(made)) if new and len(path) > _LONG else path
                        made += [place] if new else []
                        pending.append(place)
                    elif new:
                        with contextlib.suppress(OSError):
                            os.unlink(path)  # noqa: PTH108 -- the path is one that scandir gave
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                os.rmdir(folder)  # noqa: PTH106 -- as above

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


def _entries(folder: str) -> list[tuple[str, os.stat_result]]:
    """What a folder holds, as far as it can be listed."""
    try:
        with os.scandir(folder) as entries:
            return [(entry.path, entry.stat(follow_symlinks=False)) for entry in entries]
    except OSError:
        return []


def _open_up(folder: str) -> None:
    """Let us into a folder that its maker, which is dead, made closed."""
    with contextlib.suppress(OSError):
        os.chmod(folder, 0o700)  # noqa: PTH101 -- as above


def _moved_up(path: str, top: str, number: int) -> str:
    """A folder's new place right below `top`; its old one when it can't be moved."""
    place = f"{top}/.routekit-removed-{os.getpid()}-{number}"
    try:
        os.rename(path, place)  # noqa: PTH104 -- as above
    except OSError:
        return path
    return place
