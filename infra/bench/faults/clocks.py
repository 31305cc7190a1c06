"""Steps of the clock, as after a machine's sleep or by a careless hand.

libfaketime (PyPI: libfaketime) stands between a process and its clock: what it adds is read from a
file once a second, so a step is a line written there. Timers go by the monotonic clock, which it
leaves alone, as a real step does. All of our Python processes share the file, as they share a
machine. restate-server is linked statically and keeps the true time: it is then a machine of its
own. So do the simulators, whose counts are the books' other side.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import platform
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from infra.bench.faults import Fault
from infra.bench.site import Site

STEPPED: Final = ("endpoint", "pool", "api")
STEPS: Final = (-50.0, -20.0, -5.0, -1.0, 1.0, 5.0, 20.0, 50.0)
"""Seconds. Within the minute by which a client's clock may differ: beyond it, a message that the
client schedules is refused, and rightly."""
_LASTS: Final = (2.0, 8.0)
_FILE: Final = "clock"


@functools.cache
def library() -> Path | None:
    """The shared library; None where it is not installed, or was made for other machines."""
    spec = importlib.util.find_spec("libfaketime")
    if spec is None or spec.origin is None or platform.libc_ver()[0] != "glibc":
        return None
    found = Path(spec.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
    # The wheel says that it is for any machine, and holds the library of one.
    return found if found.is_file() and _machine(found) == _machine(Path(sys.executable)) else None


def _machine(program: Path) -> bytes:
    """The class and the machine of an ELF file."""
    with program.open("rb") as file:
        head = file.read(20)
    return head[4:6] + head[18:20]


def commands(directory: Path) -> Mapping[str, Sequence[str]]:
    """Our processes with a clock that can be stepped; none where libfaketime is missing."""
    preload = library()
    if preload is None:
        return {}
    file = directory / _FILE
    _set(file, 0.0)
    stepped = [
        *("env", f"LD_PRELOAD={preload}", f"FAKETIME_TIMESTAMP_FILE={file}"),
        *("FAKETIME_CACHE_DURATION=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"),
    ]
    return {name: [*stepped, sys.executable, "-m", f"infra.processes.{name}"] for name in STEPPED}


def _set(file: Path, seconds: float) -> None:
    # Replaced, not written: it may be read at any moment.
    draft = file.with_suffix(".new")
    draft.write_text(f"{seconds:+g}\n")
    draft.replace(file)


async def _step(site: Site, chance: random.Random) -> None:
    file = site.run.directory / _FILE
    _set(file, chance.choice(STEPS))
    await asyncio.sleep(chance.uniform(*_LASTS))
    _set(file, 0.0)


FAULTS: Final = (
    Fault("clock: stepped and stepped back", _step, weight=4, possible=library() is not None),
)
