"""Processes that a scenario starts beside the stack; they end with the block and with us."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.local.stack import ROOT
from infra.local.supervision import Component, Incident, Probe, Reaper, Supervised

_STOP_WITHIN = 3.0


class Processes:
    """Programs by name, each under supervision: one that dies is started again."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._supervised: dict[str, Supervised] = {}
        self._reaper: Reaper | None = None

    def __enter__(self) -> Self:
        self._reaper = Reaper()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for supervised in self._supervised.values():
            supervised.stop()
        until = time.monotonic() + _STOP_WITHIN
        for supervised in self._supervised.values():
            supervised.join(max(0.0, until - time.monotonic()))
        if self._reaper is not None:
            self._reaper.close()

    def start(
        self,
        name: str,
        command: Sequence[str],
        ready: Probe,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start a program; returns at once."""
        assert self._reaper is not None
        supervised = self._supervised[name] = Supervised(
            Component(name, command, ready),
            log=self._logs / f"{name}.log",
            directory=ROOT,
            environment={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            reaper=self._reaper,
            on_change=_nothing,
            on_incident=_nothing,
        )
        supervised.start()

    def wait_ready(self, within: float = 15.0) -> None:
        """Return once all are ready. Raises ComponentFailed."""
        deadline = time.monotonic() + within
        for supervised in self._supervised.values():
            supervised.wait_ready(deadline)

    def pids(self) -> dict[str, int]:
        """The process ids of those that run."""
        found = {name: supervised.pid for name, supervised in self._supervised.items()}
        return {name: pid for name, pid in found.items() if pid is not None}


def _nothing(incident: Incident | None = None) -> None:
    """Nobody is told: what a dead process has cost, the measurement shows."""
