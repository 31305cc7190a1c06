"""Bundles on disk: one directory each, named by the SHA-256 of the bundle."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Container
from pathlib import Path
from typing import Final

_LEFTOVER_AFTER: Final = 3600.0
"""Seconds after which a directory that was never finished was left by a process that died."""
_DRAFT: Final = "."


class BundleFiles:
    """Writes whole directories or nothing: files first, under a name that nobody looks for, then
    one rename."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def file(self, version: str, name: str) -> Path:
        """A file of a bundle."""
        return self._directory / version / name

    def has(self, version: str) -> bool:
        """Whether the bundle is there; one that is, is whole."""
        return (self._directory / version).is_dir()

    def add(self, version: str, files: dict[str, bytes]) -> None:
        """Keep a bundle; it is on disk when this returns. Adding it again changes nothing."""
        if self.has(version):
            return
        draft = self._directory / f"{_DRAFT}{version}.{secrets.token_hex(8)}"
        draft.mkdir(mode=0o700)
        try:
            for name, content in files.items():
                _write(draft / name, content)
            _sync(draft)
            try:
                draft.rename(self._directory / version)
            except OSError:
                # Somebody was faster; the content is the same.
                if not self.has(version):
                    raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        _sync(self._directory)

    def set_aside(self, kept: Container[str]) -> list[Path]:
        """Take every bundle that is not among those `kept` out of sight, and give the directories
        to delete, with what dead processes left."""
        found = []
        for path in list(self._directory.iterdir()):
            if path.name.startswith(_DRAFT):
                if _age(path) > _LEFTOVER_AFTER:
                    found.append(path)
            elif path.name not in kept:
                aside = path.with_name(f"{_DRAFT}{path.name}.{secrets.token_hex(8)}")
                path.rename(aside)
                found.append(aside)
        return found


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
