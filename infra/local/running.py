"""The stack that runs on a data directory, if one does."""

from __future__ import annotations

import fcntl
import json
from dataclasses import dataclass
from pathlib import Path

from infra.local.ports import Ports


@dataclass(frozen=True, slots=True)
class Running:
    """The stack that `hermes up` runs on this data directory."""

    pid: int
    ports: Ports
    pids: frozenset[int]


def find_running(data_dir: Path) -> Running | None:
    """The stack that holds the data directory's lock, None when nobody does."""
    try:
        with (data_dir / "stack.lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            except OSError:
                pass
        state = json.loads((data_dir / "stack.json").read_text())
        return Running(
            pid=state["pid"],
            ports=Ports(**state["ports"]),
            pids=frozenset(state["components"].values()),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
