"""The engine: how guests are compiled and stopped, the same for all of them."""

from __future__ import annotations

import threading
import time
from typing import Final

import wasmtime

TICK: Final = 0.01
"""Seconds between two looks at the deadlines."""

_LINGER: Final = 3.0
"""Seconds after the last call's beginning for which time is counted: more than any deadline. Where
no guest runs nothing wakes up."""

_MAX_STACK: Final = 512 * 1024
"""Octets. A thread of glibc's has 8 MB, one of musl's 128 KB less than this with Python's own."""

SETTINGS: Final = (
    ("consume_fuel", True),
    ("epoch_interruption", True),
    ("max_wasm_stack", _MAX_STACK),
    # What no guest needs is not there to be attacked.
    ("wasm_threads", False),
    ("wasm_memory64", False),
    ("wasm_relaxed_simd", False),
    ("wasm_exceptions", False),
    ("wasm_gc", False),
    ("wasm_function_references", False),
)
"""What compiled code depends on: it is part of an artefact's name."""


class Engine:
    """wasmtime's engine and the thread that counts its epochs.

    One for the process, shared by all threads. `close` ends the thread; guests that run are then
    bounded by their fuel alone.
    """

    def __init__(self) -> None:
        config = wasmtime.Config()
        for name, value in SETTINGS:
            setattr(config, name, value)
        self.wasm = wasmtime.Engine(config)
        self._ended = threading.Event()
        self._wanted = threading.Event()
        self._until = 0.0
        self._ticker = threading.Thread(target=self._tick, name="adapter-epochs", daemon=True)
        self._ticker.start()

    def attend(self) -> None:
        """A guest is about to run: its time counts."""
        self._until = time.monotonic() + _LINGER
        if not self._wanted.is_set():
            self._wanted.set()

    def _tick(self) -> None:
        while True:
            self._wanted.wait()
            while time.monotonic() < self._until:
                if self._ended.wait(TICK):
                    return
                self.wasm.increment_epoch()
            if self._ended.is_set():
                return
            self._wanted.clear()
            if time.monotonic() < self._until:
                # A call began in between, and saw that it was wanted still.
                self._wanted.set()

    def close(self) -> None:
        """End the ticker; what was compiled stays usable."""
        self._ended.set()
        self._wanted.set()
        self._ticker.join()
