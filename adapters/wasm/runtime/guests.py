"""The warm instances of one version of one tenant's adapter, in one configuration."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from adapters.wasm.installed import Installed
from adapters.wasm.runtime.imports import Call, GuestSink, HostLinker
from adapters.wasm.runtime.instance import Instance
from adapters.wasm.runtime.program import Program
from adapters.wasm.runtime.view import View

MAX_IDLE: Final = 512
"""Instances that wait. One of QuickJS's has 0.4 MB of memory in use."""
IDLE_FOR: Final = 30.0
"""Seconds that an instance waits before it is freed."""
MAX_CALLS: Final = 1_000
"""Guest calls before an instance is replaced: what a guest forgets to free comes to an end."""


class _Idle(NamedTuple):
    instance: Instance
    since: float


class Guests:
    """Lends instances, each to one call at a time: the one that was used last first.

    `values` is the adapter's store as it was read last. A store that was used once is read again
    before each call: other processes write to it too. `on_loop` says that it is quick enough to
    run on the event loop.
    """

    def __init__(
        self,
        installed: Installed,
        program: Program,
        linker: HostLinker,
        sink: GuestSink,
        values: Mapping[str, str],
        *,
        placeholders: Mapping[str, str],
        on_loop: bool,
    ) -> None:
        self.installed = installed
        self.values = values
        self.on_loop = on_loop
        self.uses_store = False
        self.used_at = time.monotonic()
        self._program = program
        self._linker = linker
        self._sink = sink
        self._view = View.of(installed.manifest, installed.values, placeholders)
        self._idle: deque[_Idle] = deque()
        self._closed = False

    def call(self) -> Call:
        """What a new call may see."""
        self.used_at = time.monotonic()
        return Call(
            self.installed.tenant,
            self.installed.adapter,
            limits=self.installed.manifest.limits,
            sink=self._sink,
            configuration=self._view.texts,
            values=self.values,
        )

    @property
    def idle(self) -> int:
        """Instances that wait."""
        return len(self._idle)

    @property
    def idle_mb(self) -> int:
        """Megabytes that they may hold."""
        return self.idle * self.installed.manifest.limits.memory_mb

    def warm(self) -> Instance | None:
        """An instance that waits, if there is one."""
        return self._idle.pop().instance if self._idle else None

    def fresh(self, call: Call) -> Instance:
        """A new instance, configured. The guest runs: AdapterFailed."""
        instance = Instance(self._linker, self._program, self.installed.manifest.limits, call)
        instance.configure(call, self._view.json)
        return instance

    def give_back(self, instance: Instance) -> None:
        """Let an instance wait for the next call, unless it is broken or worn out.

        It must not be running. One whose call was broken off is not to come back at all.
        """
        if (
            instance.broken
            or self._closed
            or instance.calls >= MAX_CALLS
            or len(self._idle) >= MAX_IDLE
        ):
            instance.close()
        else:
            self._idle.append(_Idle(instance, time.monotonic()))

    def free_one(self) -> None:
        """Free the one that has waited longest, if any does."""
        if self._idle:
            self._idle.popleft().instance.close()

    def trim(self, now: float) -> None:
        """Free what has waited too long."""
        while self._idle and now - self._idle[0].since > IDLE_FOR:
            self._idle.popleft().instance.close()

    def close(self) -> None:
        """Free what waits; what is lent is freed when it comes back."""
        self._closed = True
        while self._idle:
            self._idle.pop().instance.close()
