"""A folder of files, on this machine or in an object store (through fsspec), read and written safely."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tempfile
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from .protocol import ComfyError

MAX_BYTES = 100 * 2**20
"""The largest file that a row may name; ComfyUI's own limit for an upload."""


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class BadFile(ComfyError):
    """A row's file can't be taken: it is missing, lies elsewhere, or is no picture. Trying again would not help."""


def relative_path(text: str) -> str:
    """The path with forward slashes, if it is one that stays below its folder. Raises ValueError with the reason."""
    if "://" in text:
        raise ValueError(f"{text!r} is an address; files are never fetched from the network")
    if _CONTROL.search(text):
        raise ValueError(f"{text!r} holds control characters")
    if text[:1] in ("/", "\\") or text[1:2] == ":":  # also a share of Windows, and its drives
        raise ValueError(f"{text!r} is an absolute path; paths are relative to the catalogue's folder")
    parts = text.replace("\\", "/").split("/")
    if ".." in parts:
        raise ValueError(f"{text!r} leaves the catalogue's folder")
    if len(text) > 1000 or not [part for part in parts if part not in ("", ".")]:
        raise ValueError(f"{text[:50]!r} names no file")
    return "/".join(part for part in parts if part not in ("", "."))


class Folder:
    """`where`: a path, or an address that fsspec knows, such as s3://bucket/shop."""

    def __init__(self, where: str | Path) -> None:
        self.where = str(where)
        self.local: Path | None = None
        if "://" in self.where and not self.where.startswith("file://"):
            try:
                import fsspec

                self._store, self._root = fsspec.core.url_to_fs(self.where)
            except (ImportError, ValueError, OSError) as error:
                raise ComfyError(f"{self.where} can't be opened: {error}") from error
            self._listed: dict[str, Any] | None = None
        else:
            self.local = Path(self.where.removeprefix("file://")).expanduser().absolute()

    def __str__(self) -> str:
        return self.where

    @cached_property
    def _real(self) -> str:
        return os.path.realpath(str(self.local))

    def stamp(self, name: str) -> str:
        """Changes when the file changes; made without reading it. Empty when there is no such file."""
        if self.local:
            try:
                facts = os.stat(os.path.join(self.local, name))
            except (OSError, ValueError):
                return ""
            return f"{facts.st_size}-{facts.st_mtime_ns}"
        facts_ = self._listing().get(name)
        if facts_ is None:
            return ""
        return "-".join(str(facts_.get(key, "")) for key in ("size", "ETag", "LastModified", "mtime", "created"))

    def read(self, name: str) -> bytes:
        """A file that a row names. Raises BadFile; where the store itself fails, OSError."""
        if self.local is None:
            path = f"{self._root}/{name}"
            try:
                if (size := int(self._store.info(path)["size"])) > MAX_BYTES:
                    raise BadFile(_too_large(name, size))
                return bytes(self._store.cat_file(path))
            except FileNotFoundError:
                raise BadFile(f"{name} is not in {self}") from None
        path = os.path.join(self.local, name)
        real = os.path.realpath(path)
        if os.path.commonpath((real, self._real)) != self._real:
            raise BadFile(f"{name} is a link that leads out of the catalogue's folder")
        try:
            facts = os.stat(real)
            if not stat.S_ISREG(facts.st_mode):
                raise BadFile(f"{name} is no file")
            if facts.st_size > MAX_BYTES:
                raise BadFile(_too_large(name, facts.st_size))
            return Path(real).read_bytes()
        except FileNotFoundError:
            raise BadFile(f"{name} is not in {self}") from None
        except (PermissionError, NotADirectoryError) as error:
            raise BadFile(f"{name} can't be read ({error.strerror})") from None
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
                raise BadFile(f"{name} can't be read ({error.strerror})") from None
            raise

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all: a reader sees the old one or the new one."""
        if self.local is None:
            self._store.makedirs(str(PurePosixPath(f"{self._root}/{name}").parent), exist_ok=True)
            self._store.pipe_file(f"{self._root}/{name}", content)  # a store shows an object when it is complete
            return
        path = self.local / name
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def has(self, name: str) -> bool:
        if self.local:
            return os.path.isfile(self.local / name)  # False also for a name that no file can have
        return bool(self._store.exists(f"{self._root}/{name}"))

    def get(self, name: str) -> bytes:
        """A file of our own making."""
        if self.local:
            return (self.local / name).read_bytes()
        return bytes(self._store.cat_file(f"{self._root}/{name}"))

    def _listing(self) -> dict[str, Any]:
        """Every file of an object store's folder, asked for once: a request for each row would take hours."""
        if self._listed is None:
            found = self._store.find(self._root, detail=True)
            self._listed = {path[len(self._root) :].lstrip("/"): facts for path, facts in found.items()}
        return self._listed


def _too_large(name: str, size: int) -> str:
    return f"{name} has {size / 2**20:.0f} MB; at most {MAX_BYTES // 2**20} MB are accepted"
