"""The engine: how guests are compiled and stopped, the same for all of them."""

from __future__ import annotations

import threading
from typing import Final

import wasmtime

TICK: Final = 0.01
"""Seconds between two looks at the deadlines."""

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
        self._ticker = threading.Thread(target=self._tick, name="adapter-epochs", daemon=True)
        self._ticker.start()

    def _tick(self) -> None:
        while not self._ended.wait(TICK):
            self.wasm.increment_epoch()

    def close(self) -> None:
        """End the ticker; what was compiled stays usable."""
        self._ended.set()
        self._ticker.join()
