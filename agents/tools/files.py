"""File access for tools: below the granted folders only, whatever the path says.

Every path is walked one component at a time from the granted folder's file descriptor with O_NOFOLLOW, so a symbolic
link can't lead out and there is no moment between a check and an open (comparing `realpath` first lost the race about
one time in twenty; this walk never). Files must be regular and have one name: a hard link made earlier would lead out.
The kernel rules of the sandbox hold below this; this layer gives good messages, and is all there is at tier T0.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PATH = 4096
MAX_COMPONENT = 255
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class ToolError(Exception):
    """The tool could not do it."""

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or "").strip()


class FileMissingError(ToolError):
    """There is no such file or folder."""


class FileRefusedError(ToolError):
    """This file is outside the folders that this call may use."""


@dataclass(frozen=True)
class Grant:
    """One folder that the call may use: an absolute path, and whether it may be written."""

    path: str
    writable: bool


@dataclass
class FileCounters:
    """Bytes moved through `FileAccess` in this call."""

    read: int = 0
    written: int = 0


class FileAccess:
    """Files below the granted folders. `root` is where relative paths start; it must be one of the grants."""

    def __init__(self, root: str, grants: tuple[Grant, ...]) -> None:
        self.root = root
        self.grants = tuple(sorted(grants, key=lambda g: len(g.path), reverse=True))
        self.counters = FileCounters()

    def read_bytes(self, path: str, limit: int) -> tuple[bytes, bool]:
        """The first `limit` bytes of a file, and whether there was more."""
        with self._opened(path, _READ) as fd:
            chunks: list[bytes] = []
            left = limit + 1
            while left > 0 and (chunk := os.read(fd, min(left, 1 << 20))):
                chunks.append(chunk)
                left -= len(chunk)
        data = b"".join(chunks)
        self.counters.read += len(data)
        return data[:limit], len(data) > limit

    def mark(self, path: str) -> str:
        """What changes with every write to a file, whatever its length: which file it is, its size and its times."""
        with self._opened(path, _READ) as fd:
            info = os.fstat(fd)
        return f"{info.st_dev} {info.st_ino} {info.st_size} {info.st_mtime_ns} {info.st_ctime_ns}"

    def write_bytes(self, path: str, data: bytes, *, overwrite: bool = True) -> bool:
        """Write a whole file, or nothing; returns whether it is new. Missing folders on the way are made.

        Raises:
            FileRefusedError: outside the writable folders, a link, or not a regular file.
            ToolError: it exists and `overwrite` is False.
            OSError: the disk, or the limit on file size, is full.
        """
        exists = self.exists(path)
        if exists and not overwrite:
            raise ToolError(f"{path} exists and overwriting was not asked for.")
        with self._parent(path, write=True, make_parents=True) as (folder, name):
            part = f".{secrets.token_hex(8)}.part"
            fd = os.open(
                part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
            )
            try:
                _write_all(fd, data)
                os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                os.unlink(part, dir_fd=folder)
                raise
            finally:
                os.close(fd)
        self.counters.written += len(data)
        return not exists

    def exists(self, path: str) -> bool:
        """Whether there is a regular file at `path`."""
        try:
            with self._opened(path, _READ):
                return True
        except FileMissingError:
            return False

    def delete(self, path: str) -> int:
        """Remove one file; returns the bytes it held."""
        with self._parent(path, write=True) as (folder, name):
            try:
                info = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except OSError as error:
                raise _explained(error, path) from None
            if not stat.S_ISREG(info.st_mode):
                raise FileRefusedError(f"{path} is not a regular file.")
            os.unlink(name, dir_fd=folder)
            return info.st_size

    def listing(self, path: str, limit: int) -> tuple[list[tuple[str, os.stat_result]], bool]:
        """Names and facts of a folder's entries, sorted by name, at most `limit`, and whether there were more."""
        with self._folder(path) as fd:
            names = sorted(os.listdir(fd))  # noqa: PTH208 -- pathlib has no listing of a descriptor
            found = [(name, os.stat(name, dir_fd=fd, follow_symlinks=False)) for name in names[:limit]]
        return found, len(names) > limit

    @contextmanager
    def _opened(self, path: str, flags: int, *, write: bool = False) -> Iterator[int]:
        with self._parent(path, write=write) as (folder, name):
            try:
                fd = os.open(name, flags, 0o600, dir_fd=folder)
            except OSError as error:
                raise _explained(error, path) from None
            try:
                info = os.fstat(fd)
                if not stat.S_ISREG(info.st_mode):
                    raise FileRefusedError(f"{path} is not a regular file.")
                if info.st_nlink != 1:
                    raise FileRefusedError(f"{path} has more than one name (a hard link) and may lead outside.")
                yield fd
            finally:
                os.close(fd)

    @contextmanager
    def _parent(self, path: str, *, write: bool, make_parents: bool = False) -> Iterator[tuple[int, str]]:
        grant, parts = self._locate(path, write=write)
        if not parts:
            raise FileRefusedError(f"{path} is a folder.")
        fd = _walk(grant.path, parts[:-1], path, make=make_parents)
        try:
            yield fd, parts[-1]
        finally:
            os.close(fd)

    @contextmanager
    def _folder(self, path: str) -> Iterator[int]:
        grant, parts = self._locate(path, write=False)
        fd = _walk(grant.path, parts, path, make=False)
        try:
            yield fd
        finally:
            os.close(fd)

    def _locate(self, path: str, *, write: bool) -> tuple[Grant, tuple[str, ...]]:
        """The grant that holds `path`, and the components below it. No component is `..`, none is normalised away."""
        if not self.grants:
            raise ToolError("No folders are set up for this tool.")
        parts = checked_parts(path)
        absolute = PurePosixPath(path) if path.startswith("/") else PurePosixPath(self.root, *parts)
        for grant in self.grants:
            if absolute.is_relative_to(grant.path):
                if write and not grant.writable:
                    raise FileRefusedError(f"{path} is in a folder that may only be read.")
                return grant, absolute.relative_to(grant.path).parts
        raise FileRefusedError(f"{path} is outside the folders that this call may use.")


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def checked_parts(path: str) -> tuple[str, ...]:
    """The components of a path, taken literally: no Unicode normalisation, no `~`, no `..`.

    Raises:
        FileRefusedError: a NUL, a `..`, or a length that the kernel would refuse.
    """
    if "\0" in path:
        raise FileRefusedError("A path can't hold a NUL character.")
    if len(os.fsencode(path)) > MAX_PATH:
        raise FileRefusedError(f"The path is longer than {MAX_PATH} bytes.")
    parts = tuple(p for p in path.split("/") if p not in ("", "."))
    if ".." in parts:
        raise FileRefusedError("A path can't go up with `..`.")
    if any(len(os.fsencode(p)) > MAX_COMPONENT for p in parts):
        raise FileRefusedError(f"A name in the path is longer than {MAX_COMPONENT} bytes.")
    return parts


def _walk(start: str, parts: tuple[str, ...], shown: str, *, make: bool) -> int:
    """A descriptor of the folder `start/parts…`, following no link below `start`."""
    fd = os.open(start, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts:
        try:
            below = _step(fd, part, make=make)
        except OSError as error:
            raise _explained(error, shown) from None
        finally:
            os.close(fd)
        fd = below
    return fd


def _step(fd: int, part: str, *, make: bool) -> int:
    try:
        return os.open(part, _FOLDER, dir_fd=fd)
    except FileNotFoundError:
        if not make:
            raise
        os.mkdir(part, 0o700, dir_fd=fd)
        return os.open(part, _FOLDER, dir_fd=fd)


def _explained(error: OSError, path: str) -> Exception:
    """The operating system's error as the tool's own, with the path as the caller wrote it."""
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
        return FileRefusedError(f"{path} goes through a symbolic link or something that is not a folder.")
    if error.errno == errno.ENXIO:
        return FileRefusedError(f"{path} is not a regular file.")
    if error.errno == errno.ENOENT:
        return FileMissingError(f"There is no file or folder {path}.")
    return OSError(error.errno or errno.EIO, os.strerror(error.errno or errno.EIO), path)
