"""Look into an uploaded component: `python -m adapters.wasm.upload.check FILE NATIVE` prints JSON,
and leaves what it was compiled to in NATIVE.

A process of its own, because the file is a stranger's and compiling it is work: it has little
memory, time and room to write, and if the compiler fails, only this process ends.
"""

from __future__ import annotations

import errno
import os
import resource
import sys
from pathlib import Path
from typing import Final

import msgspec

MEMORY: Final = 1024**3
CPU_SECONDS: Final = 20
OUTPUT: Final = 64 * 1024**2
"""Bytes of native code: QuickJS has ten million."""

_MORE_THREADS: Final = 64


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was found. Without a `check` nothing is wrong."""

    check: str | None = None
    finding: str | None = None


def limit() -> None:
    """Give this process little; there is no way back."""
    threads = _threads()
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, OUTPUT),
        (resource.RLIMIT_CORE, 0),
        # The kernel counts everything of this user, and the compiler needs some threads.
        (resource.RLIMIT_NPROC, threads + _MORE_THREADS),
    ):
        hard = resource.getrlimit(kind)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (allowed, allowed))
    os.nice(10)


def look(component: Path, native: Path) -> Report:
    """What is wrong with a component; without a fault its native code is in `native` then.
    Compiling it takes seconds."""
    from adapters.wasm.runtime.engine import Engine
    from adapters.wasm.runtime.faults import AdapterFailed
    from adapters.wasm.runtime.program import check, compile_component

    try:
        engine = Engine()
        compiled = compile_component(engine, component.read_bytes())
        check(engine, compiled, component.name)
        native.write_bytes(compiled.serialize())
    except AdapterFailed as failed:
        kind = failed.kind if failed.kind in ("imports", "exports") else "compile"
        return Report(kind, failed.detail)
    except MemoryError:
        return Report("compile", "compiling it takes too much memory")
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        return Report("compile", f"its native code has more than {OUTPUT >> 20} MiB")
    return Report()


def main(arguments: list[str]) -> None:
    """Print the report about one file."""
    file, native = arguments
    limit()
    report = look(Path(file), Path(native))
    sys.stdout.buffer.write(msgspec.json.encode(report))
    sys.stdout.buffer.flush()
    # The engine's threads have nothing left to do that would be worth a wait.
    os._exit(0)


def _threads() -> int:
    """All threads of this machine, which are at least those of this user."""
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    except OSError:
        return 4096


if __name__ == "__main__":
    main(sys.argv[1:])
