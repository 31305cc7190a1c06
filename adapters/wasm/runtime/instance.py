"""One instance of a guest: its memory, its limits, its functions. One thread at a time."""

from __future__ import annotations

import math
from ctypes import POINTER, byref, c_char_p, cast, string_at
from typing import Any, Final, TypeVar

import msgspec
import wasmtime
from wasmtime import _ffi as ffi
from wasmtime.component import Func

from adapters.wasm.contract import Answer
from adapters.wasm.manifest import Limits
from adapters.wasm.runtime.engine import TICK
from adapters.wasm.runtime.faults import AdapterFailed, trapped
from adapters.wasm.runtime.imports import Call, HostLinker, running
from adapters.wasm.runtime.program import Program

Done = TypeVar("Done")

_MEMORIES: Final = 3
"""A component of componentize-qjs has three: QuickJS's and two without a page. `memory_mb` is the
limit of each."""
_TABLES: Final = 8
_TABLE_ELEMENTS: Final = 20_000
_INSTANCES: Final = 16
_ENVELOPE: Final = 1 << 20
"""Octets that an answer may have beside twice the largest request, which is inside a JSON text."""


class Instance:
    """An instantiated program. After a failure it is `broken` and cannot be entered again.

    Creating one may raise AdapterFailed: a guest runs already while it is being made.
    """

    __slots__ = (
        *("_answer", "_counting", "_deadline", "_functions", "_store"),
        *("broken", "calls", "limits"),
    )

    def __init__(self, linker: HostLinker, program: Program, limits: Limits, call: Call) -> None:
        self.limits = limits
        self.calls = 0
        self.broken = False
        self._answer = 2 * limits.request_bytes + _ENVELOPE
        self._deadline = math.ceil(limits.deadline_ms / 1000 / TICK) + 1
        self._counting = linker.counting
        self._store = wasmtime.Store(linker.engine)
        self._store.set_limits(
            memory_size=limits.memory_mb << 20,
            table_elements=_TABLE_ELEMENTS,
            instances=_INSTANCES,
            tables=_TABLES,
            memories=_MEMORIES,
        )
        self._enter(call)
        try:
            instance = linker.instantiate(self._store, program.component)
            self._functions: dict[str, Any] = {}
            for name, index in program.functions.items():
                function = instance.get_func(self._store, index)
                assert function is not None  # `check` has seen it
                self._functions[name] = function
        except wasmtime.WasmtimeError as error:
            raise self._broken(str(error), call) from None
        finally:
            running.call = None

    def configure(self, call: Call, configuration: str) -> None:
        """Call on-configure. Raises AdapterFailed; "configure" with the guest's own words."""
        self._enter(call)
        try:
            refused = self._functions["on-configure"](self._store, configuration)
        except wasmtime.WasmtimeError as error:
            raise self._broken(str(error), call) from None
        finally:
            running.call = None
        if refused is not None:
            self.broken = True
            raise AdapterFailed("configure", str(refused))

    def ask(
        self,
        call: Call,
        export: str,
        payload: bytes | None,
        decoder: msgspec.json.Decoder[Answer[Done]],
    ) -> Answer[Done]:
        """Call another export with a JSON text, and read its answer. Raises AdapterFailed."""
        self._enter(call)
        self.calls += 1
        try:
            text = self._call(self._functions[export], payload, call)
        finally:
            running.call = None
        try:
            return decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.broken = True
            raise AdapterFailed("malformed", f"{export} returned: {error}") from None

    def close(self) -> None:
        """Free its memory; it must not be running."""
        self.broken = True
        self._store.close()

    def _enter(self, call: Call) -> None:
        self._store.set_fuel(self.limits.fuel)
        self._counting.attend()
        self._store.set_epoch_deadline(self._deadline)
        running.call = call

    def _call(self, function: Func, payload: bytes | None, call: Call) -> bytes:
        """What `Func.__call__` does, for the one signature that these exports have.

        The public way asks for the function's type each time and makes a `str` of whatever comes:
        8 µs more a call, and four octets a character of an answer that is to be refused.
        """
        parameters = (ffi.wasmtime_component_val_t * 1)()
        if payload is not None:
            # It borrows our octets for the time of the call, and copies them into the guest.
            parameters[0].kind = ffi.WASMTIME_COMPONENT_STRING
            parameters[0].of.string.size = len(payload)
            parameters[0].of.string.data = cast(c_char_p(payload), POINTER(ffi.wasm_byte_t))
        result = ffi.wasmtime_component_val_t()
        failed = ffi.wasmtime_component_func_call(
            byref(function._func),
            self._store._context(),
            parameters,
            0 if payload is None else 1,
            byref(result),
            1,
        )
        if failed:
            raise self._broken(str(wasmtime.WasmtimeError._from_ptr(failed)), call)
        text = result.of.string
        try:
            if text.size > self._answer:
                self.broken = True
                raise AdapterFailed(
                    "malformed",
                    f"an answer of {text.size:,} octets; at most {self._answer:,} are read",
                )
            return string_at(text.data, text.size)
        finally:
            ffi.wasm_byte_vec_delete(byref(text))

    def _broken(self, said: str, call: Call) -> AdapterFailed:
        self.broken = True
        return trapped(said, call.last_words)
