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
import tempfile
import threading
from collections import OrderedDict
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

    def _compiled(self, content: bytes, digest: str) -> Component:
        path = self.path(digest)
        kept = self._kept(path)
        if kept is not None:
            return kept
        component = compile_component(self._engine, content)
        native = bytes(component.serialize())
        # The digest goes last: an artefact without one is not used. Where neither can be written
        # the next process compiles again.
        with suppress(OSError):
            _write(path, native)
            _write(_digest_path(path), hashlib.sha256(native).hexdigest().encode())
        return component

    def _kept(self, path: Path) -> Component | None:
        try:
            native, digest = path.read_bytes(), _digest_path(path).read_text()
        except (OSError, UnicodeDecodeError):
            return None
        if hashlib.sha256(native).hexdigest() != digest:
            return None
        try:
            return Component.deserialize_file(self._engine.wasm, str(path))
        except wasmtime.WasmtimeError:
            return None


def _digest_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _write(path: Path, content: bytes) -> None:
    """Replace a file, never its content: others may have it mapped."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
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
