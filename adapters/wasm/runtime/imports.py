"""What a guest may call: log, emit-metric, get-config, store-get, store-set.

None of these functions raises, whatever a guest does: wasmtime-py keeps a host function's
exception in one place for the whole process, from where any thread may take it.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Mapping
from typing import Any, Final, Protocol

from wasmtime.component import Linker

from adapters.wasm.manifest import Limits
from adapters.wasm.runtime.engine import Engine
from adapters.wasm.runtime.program import HOST

MAX_LINES: Final = 50
MAX_LINE: Final = 1_024
MAX_METRICS: Final = 50

LEVELS: Final = frozenset({"debug", "info", "warning", "error"})

_METRIC: Final = re.compile(r"[a-z_]{1,64}")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class GuestSink(Protocol):
    """Takes what guests say. Called from any thread; the figures' names are the guests' own."""

    def log(self, tenant: str, adapter: str, level: str, message: str) -> None:
        """One line, of at most MAX_LINE characters and none that ends it."""

    def metric(self, tenant: str, adapter: str, name: str, value: float) -> None:
        """A finite number, under a name of [a-z_]{1,64}."""


class Call:
    """What one call of a guest may see, and what it has said and changed so far.

    A call is one on-message with all its answers. `configuration` is what get-config answers,
    `values` the store as it stands; `changes` is to be written when the call has succeeded, and
    `touched` says whether it looked. `fault` is what a host function met with.
    """

    __slots__ = (
        "_lines",
        "_metrics",
        "adapter",
        "changes",
        "configuration",
        "fault",
        "last_words",
        "limits",
        "sink",
        "tenant",
        "touched",
        "values",
    )

    def __init__(
        self,
        tenant: str,
        adapter: str,
        *,
        limits: Limits,
        sink: GuestSink,
        configuration: Mapping[str, str],
        values: Mapping[str, str],
    ) -> None:
        self.tenant = tenant
        self.adapter = adapter
        self.limits = limits
        self.sink = sink
        self.configuration = configuration
        self.values = values
        self.changes: dict[str, str] = {}
        self.last_words: str | None = None
        self.fault: Exception | None = None
        self.touched = False
        self._lines = 0
        self._metrics = 0

    def log(self, level: str, message: str) -> None:
        """One line of the guest's; those over the limit are dropped, which is said once."""
        line = _CONTROL.sub(" ", message[:MAX_LINE])
        if level == "error":
            self.last_words = line
        self._lines += 1
        if self._lines <= MAX_LINES:
            self.sink.log(self.tenant, self.adapter, level if level in LEVELS else "info", line)
        elif self._lines == MAX_LINES + 1:
            more = f"more than {MAX_LINES} lines in one call: the rest is dropped"
            self.sink.log(self.tenant, self.adapter, "warning", more)

    def emit_metric(self, name: str, value: float) -> None:
        """One figure of the guest's; what is over the limit or no figure is dropped."""
        self._metrics += 1
        if self._metrics <= MAX_METRICS and _METRIC.fullmatch(name) and math.isfinite(value):
            self.sink.metric(self.tenant, self.adapter, name, value)

    def store_get(self, key: str) -> str | None:
        """A value, as the call itself has left it."""
        self.touched = True
        kept = self.changes.get(key)
        return self.values.get(key) if kept is None else kept

    def store_set(self, key: str, value: str) -> str | None:
        """Keep a value for when the call succeeds; the limit that it would break, if any."""
        self.touched = True
        after = {**self.values, **self.changes, key: value}
        if len(after) > self.limits.store_keys:
            return f"the store has room for {self.limits.store_keys} keys"
        size = sum(len(k.encode()) + len(v.encode()) for k, v in after.items())
        if size > self.limits.store_bytes:
            return f"the store has room for {self.limits.store_bytes} octets"
        self.changes[key] = value
        return None


class _Running(threading.local):
    """The call that runs on this thread: a guest runs on one thread from entry to return."""

    call: Call | None = None


running: Final = _Running()


class HostLinker(Linker):
    """A linker that knows the engine which counts its guests' time."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.wasm)
        self.counting = engine


def link(engine: Engine) -> HostLinker:
    """The host's functions, the same for every guest; each finds the call that is running."""
    linker = HostLinker(engine)
    with linker.root() as root, root.add_instance(HOST) as host:
        host.add_func("log", _log)
        host.add_func("emit-metric", _emit_metric)
        host.add_func("get-config", _get_config)
        host.add_func("store-get", _store_get)
        host.add_func("store-set", _store_set)
    return linker


def _log(store: Any, level: str, message: str) -> None:
    call = running.call
    if call is not None:
        try:
            call.log(level, message)
        except Exception as error:
            call.fault = error


def _emit_metric(store: Any, name: str, value: float) -> None:
    call = running.call
    if call is not None:
        try:
            call.emit_metric(name, value)
        except Exception as error:
            call.fault = error


def _get_config(store: Any, key: str) -> str | None:
    call = running.call
    return None if call is None else call.configuration.get(key)


def _store_get(store: Any, key: str) -> str | None:
    call = running.call
    return None if call is None else call.store_get(key)


def _store_set(store: Any, key: str, value: str) -> str | None:
    call = running.call
    if call is None:
        return "no call is running"
    try:
        return call.store_set(key, value)
    except Exception as error:
        call.fault = error
        return "the host has no store at the moment"
