"""Where tests put their files: in memory, where there is enough of it.

What a test waits for on a disk is mostly that a commit is safe there, which no test looks at:
processes are killed in tests, machines are not.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import psutil

_MEMORY = Path("/dev/shm")
_NAME = "hermes-tests-"
_ENOUGH = 6 * 2**30
"""Bytes that have to be free: a whole run has up to two gigabytes of them at a time."""


def use_memory() -> None:
    """Have everything that is temporary in memory, here and in what is started from here. A
    TMPDIR that was set stays. What runs left that have ended goes."""
    if "TMPDIR" in os.environ or not _fits(_MEMORY):
        return
    for left in _MEMORY.glob(f"{_NAME}*"):
        if not psutil.pid_exists(int(left.name.removeprefix(_NAME))):
            shutil.rmtree(left, ignore_errors=True)
    place = _MEMORY / f"{_NAME}{os.getpid()}"
    # PostgreSQL runs as somebody else, who has to find what is his.
    place.mkdir(mode=0o711)
    os.environ["TMPDIR"] = str(place)
    tempfile.tempdir = None


def forget() -> None:
    """Remove what this run has there."""
    place = _MEMORY / f"{_NAME}{os.getpid()}"
    if os.environ.get("TMPDIR") == str(place):
        shutil.rmtree(place, ignore_errors=True)


def _fits(place: Path) -> bool:
    """Whether it is there, and takes programs (PostgreSQL's) and files as a disk does."""
    try:
        found = os.statvfs(place)
        enough = min(found.f_bavail * found.f_frsize, psutil.virtual_memory().available) > _ENOUGH
        if not enough or found.f_flag & getattr(os, "ST_NOEXEC", 0):
            return False
        with tempfile.NamedTemporaryFile(dir=place) as file:
            # restate-server reads past the cache.
            os.close(os.open(file.name, os.O_RDONLY | os.O_DIRECT))
    except (OSError, AttributeError):
        return False
    return True
