"""Compiled components, kept on disk: compiling QuickJS takes two seconds, loading it one
millisecond.

What is loaded is native code, which wasmtime does not check. So the directory is ours alone, every
file stands beside a digest of its content, and its name says what it was made of and for: the
component, wasmtime's version, the engine's settings, the processor. One that does not fit is made
anew.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Container
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

import wasmtime
from wasmtime.component import Component

from adapters.wasm.runtime.engine import SETTINGS, Engine
from adapters.wasm.runtime.program import Program, check, compile_component

_KEPT: Final = 256
"""Programs in memory. Each is a mapping of its file: pages that are not run are not read."""
_DRAFT: Final = ".new-"
_UNKNOWN_FOR: Final = 3_600.0
"""Seconds that an artefact stays whose component nobody keeps: an upload is tried before it is."""
_FOREIGN_FOR: Final = 7 * 86_400.0
"""Seconds since it was last loaded that one stays which another processor or another wasmtime has
made, and which may still be used there."""
_FILE: Final = re.compile(r"([0-9a-f]{64})-([0-9a-f]{16})\.(?:cwasm|sha256)")


class Artifacts:
    """Programs by their components' files. Thread-safe.

    `directory` is made with mode 0700; PermissionError when it belongs to somebody else or others
    may write there.
    """

    def __init__(self, directory: Path, engine: Engine) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise PermissionError(f"{directory} has to be ours, and writable for us alone")
        self._directory = directory
        self._engine = engine
        self._programs: OrderedDict[str, Program] = OrderedDict()
        self._lock = threading.Lock()
        self._making: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    def load(self, component: Path) -> Program:
        """The program, compiled if need be, which takes seconds: not on an event loop.

        Raises AdapterFailed ("component", "imports", "exports") or OSError.
        """
        content = component.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        with self._lock:
            making = self._making.get(digest)
            if making is None:
                making = self._making[digest] = threading.Lock()
        # Several threads that want one program shall not compile it several times; those that want
        # another one do not wait.
        with making:
            with self._lock:
                program = self._programs.get(digest)
            if program is None:
                program = check(self._engine, self._compiled(content, digest), digest)
            with self._lock:
                self._programs[digest] = program
                self._programs.move_to_end(digest)
                if len(self._programs) > _KEPT:
                    self._programs.popitem(last=False)
            return program

    def path(self, digest: str) -> Path:
        """Where a component's artefact is kept, for this machine and this engine."""
        return self._directory / f"{digest}-{_machine()}.cwasm"

    def adopt(self, digest: str, native: Path) -> None:
        """Keep what a component was compiled to elsewhere on this machine, by this engine's
        settings, such as in the process that looks into an upload. Raises OSError."""
        self._keep(self.path(digest), native.read_bytes())

    def sweep(self, needed: Container[str]) -> int:
        """Delete the artefacts of components that are not `needed`, those of others when they have
        not been loaded for a week, and what dead processes left; how many files.

        What runs, runs on: a file is mapped until its last instance is gone.
        """
        gone, now = 0, time.time()
        for path in list(self._directory.iterdir()):
            named = _FILE.fullmatch(path.name)
            if named is not None and named[1] in needed:
                most = None if named[2] == _machine() else _FOREIGN_FOR
            elif named is not None or path.name.startswith(_DRAFT):
                most = _UNKNOWN_FOR
            else:
                most = None  # not ours
            with suppress(FileNotFoundError):
                if most is not None and now - path.stat().st_mtime > most:
                    path.unlink()
                    gone += 1
        return gone

    def _compiled(self, content: bytes, digest: str) -> Component:
        path = self.path(digest)
        kept = self._kept(path)
        if kept is not None:
            return kept
        component = compile_component(self._engine, content)
        # Where it cannot be written the next process compiles again.
        with suppress(OSError):
            self._keep(path, bytes(component.serialize()))
        return component

    def _keep(self, path: Path, native: bytes) -> None:
        # The digest goes last: an artefact without one is not used.
        _write(path, native)
        _write(_digest_path(path), hashlib.sha256(native).hexdigest().encode())

    def _kept(self, path: Path) -> Component | None:
        try:
            native, digest = path.read_bytes(), _digest_path(path).read_text()
        except (OSError, UnicodeDecodeError):
            return None
        if hashlib.sha256(native).hexdigest() != digest:
            return None
        try:
            found = Component.deserialize_file(self._engine.wasm, str(path))
        except wasmtime.WasmtimeError:
            return None
        for each in (path, _digest_path(path)):
            with suppress(OSError):
                os.utime(each)
        return found


def _digest_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _write(path: Path, content: bytes) -> None:
    """Replace a file, never its content: others may have it mapped."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_DRAFT)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@functools.cache
def _machine() -> str:
    """What native code depends on beside its source."""
    parts = [version("wasmtime"), repr(SETTINGS), platform.system(), platform.machine()]
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        # x86 says flags, Arm Features.
        parts += sorted({line for line in lines if line.startswith(("flags", "Features"))})
    except OSError:
        parts.append(platform.processor())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
