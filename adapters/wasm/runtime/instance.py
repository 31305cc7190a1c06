"""One instance of a guest: its memory, its limits, its functions. One thread at a time."""

from __future__ import annotations

import math
from ctypes import byref, c_char_p, c_size_t, c_void_p, string_at
from typing import Any, Final, TypeVar

import msgspec
import wasmtime
from wasmtime import _ffi as ffi

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


class _Text:
    """A value of the C API that is a text, made once for many calls.

    `octets` and `size` are the same memory as its fields. To set them there, or to read them, takes
    a tenth of the time that it takes through the structure, which makes an object of each.
    """

    __slots__ = ("address", "octets", "size", "value", "vector")

    def __init__(self) -> None:
        self.value = ffi.wasmtime_component_val_t()
        self.value.kind = ffi.WASMTIME_COMPONENT_STRING
        self.vector = self.value.of.string
        size, data = type(self.vector).size.offset, type(self.vector).data.offset
        self.size = c_size_t.from_buffer(self.vector, size)
        self.octets = c_char_p.from_buffer(self.vector, data)
        self.address = c_void_p.from_buffer(self.vector, data)


class Instance:
    """An instantiated program. After a failure it is `broken` and cannot be entered again.

    Creating one may raise AdapterFailed: a guest runs already while it is being made.
    """

    __slots__ = (
        *("_answer", "_context", "_counting", "_deadline", "_entries", "_functions", "_given"),
        *("_said", "_store", "broken", "calls", "limits"),
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
        # Good until the store is closed.
        self._context: Any = self._store._context()
        self._given, self._said = _Text(), _Text()
        self._enter(call)
        try:
            instance = linker.instantiate(self._store, program.component)
            self._functions: dict[str, Any] = {}
            for name, index in program.functions.items():
                function = instance.get_func(self._store, index)
                assert function is not None  # `check` has seen it
                self._functions[name] = function
            self._entries = {name: byref(each._func) for name, each in self._functions.items()}
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
            text = self._call(self._entries[export], payload, call)
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
        self._context = None
        self._store.close()

    def _enter(self, call: Call) -> None:
        context = self._context
        if context is None:
            raise ValueError("it is closed")
        # Each of these fails only where the engine does not count, and ours does.
        ffi.wasmtime_context_set_fuel(context, self.limits.fuel)
        self._counting.attend()
        ffi.wasmtime_context_set_epoch_deadline(context, self._deadline)
        running.call = call

    def _call(self, entry: Any, payload: bytes | None, call: Call) -> bytes:
        """What `Func.__call__` does, for the one signature that these exports have.

        The public way asks for the function's type each time and makes a `str` of whatever comes:
        8 µs more a call, and four octets a character of an answer that is to be refused.
        """
        given, said = self._given, self._said
        if payload is not None:
            # It borrows our octets for the time of the call, and copies them into the guest.
            given.octets.value = payload
            given.size.value = len(payload)
        failed = ffi.wasmtime_component_func_call(
            entry,
            self._context,
            byref(given.value),
            0 if payload is None else 1,
            byref(said.value),
            1,
        )
        if payload is not None:
            given.octets.value = None
        if failed:
            raise self._broken(str(wasmtime.WasmtimeError._from_ptr(failed)), call)
        size = said.size.value
        try:
            if size > self._answer:
                self.broken = True
                raise AdapterFailed(
                    "malformed",
                    f"an answer of {size:,} octets; at most {self._answer:,} are read",
                )
            return string_at(said.address.value or 0, size)
        finally:
            ffi.wasm_byte_vec_delete(byref(said.vector))

    def _broken(self, said: str, call: Call) -> AdapterFailed:
        self.broken = True
        return trapped(said, call.last_words)
