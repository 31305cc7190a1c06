"""CPU time and memory of a stack's processes, as the operating system accounts for them."""

from __future__ import annotations

from collections.abc import Mapping

import psutil


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """User and system time that each process and its children have used since they began."""
    return {name: sum(_cpu(process) for process in _family(pid)) for name, pid in pids.items()}


def rss_mb(pids: Mapping[str, int]) -> dict[str, float]:
    """Resident memory of each process and its children, in MB (10^6 bytes)."""
    return {
        name: round(sum(p.memory_info().rss for p in _family(pid)) / 1e6, 1)
        for name, pid in pids.items()
    }


def written_bytes(pids: Mapping[str, int]) -> dict[str, int]:
    """Bytes that each process and its children have handed to storage since they began; none where
    the system does not say."""
    return {name: sum(_written(process) for process in _family(pid)) for name, pid in pids.items()}


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _written(process: psutil.Process) -> int:
    counters = getattr(process, "io_counters", None)
    return 0 if counters is None else int(counters().write_bytes)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
