"""The suite in several processes at once: `make test`, by pytest-xdist.

Tests that share something dear, such as a stack, are a group, and a group stays in one process;
otherwise a file is one. The longest groups come first, so that no process works on one for minutes
when the others have nothing left. Tests marked `alone` measure times that the rest of the suite
would spoil: while one runs, the other processes wait.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from infra.local import ports

MOST = 8
"""Processes: each may have a PostgreSQL server and some stacks."""

_LONGEST = ("alone", "shared_stack", "slow_stack", "tests/scenarios", "stage", "tests/contract")
"""How the names of groups begin that come before all others, in this order."""
_SHARED = ("shared_stack", "slow_stack", "adapters_stack", "stage")
"""Fixtures of a whole run whose tests are one group; one for each parameter of theirs."""

# Two locks on what is there anyway. Whoever wants to be alone closes the gate and waits until the
# field is empty; without a gate it would wait for a moment in which by chance nobody is there.
_GATE, _FIELD = Path(__file__), Path(__file__).parent


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Twice as many as there are cores: half of the time tests wait for something."""
    return min(MOST, 2 * (os.cpu_count() or 1))


def draw_ports_apart() -> None:
    """Have each process draw free ports from a range of its own: between a draw and its use,
    others would find them free, too."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None:
        ports.FREE = _slice(ports.FREE, int(worker.removeprefix("gw")) % MOST)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest groups first."""
    items.sort(key=lambda item: _rank(_group(item)))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Tell the process that shares out the tests, which knows no more than their ids, the group of
    each. (pytest-xdist would have that written into the ids, which pytest 9.2 does not allow.)"""
    if "PYTEST_XDIST_WORKER" in os.environ:
        groups = {item.nodeid: _group(item) for item in session.items}
        told = _told(os.getppid())
        draft = told.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(groups))
        draft.replace(told)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share out whole groups, in their order."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class ByGroup(LoadScopeScheduling):  # type: ignore[misc]
        @cached_property
        def groups(self) -> dict[str, str]:
            told = _told(os.getpid())
            groups: dict[str, str] = json.loads(told.read_text())
            told.unlink()
            return groups

        def _split_scope(self, nodeid: str) -> str:
            return self.groups[nodeid]

    config.option.loadscopereorder = False
    return ByGroup(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let nothing run beside a test that is marked `alone`. Its time does not begin before."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    alone = item.get_closest_marker("alone") is not None
    with _turn(fcntl.LOCK_EX if alone else fcntl.LOCK_SH):
        return (yield)


def _group(item: pytest.Item) -> str:
    if item.get_closest_marker("alone"):
        return "alone"
    for fixture in _SHARED:
        if fixture in getattr(item, "fixturenames", ()):
            parameters = getattr(item, "callspec", None)
            chosen = parameters.params.get(fixture, "") if parameters is not None else ""
            return f"{fixture} {chosen}".strip()
    return item.nodeid.partition("::")[0]


def _told(pid: int) -> Path:
    """Where the tests' groups are for the process that shares them out."""
    return Path(tempfile.gettempdir(), f"hermes-test-groups-{pid}")


def _rank(group: str) -> int:
    """Where a group comes among the others."""
    begins = (place for place, name in enumerate(_LONGEST) if group.startswith(name))
    return next(begins, len(_LONGEST))


def _slice(whole: range, part: int) -> range:
    size = len(whole) // MOST
    return whole[part * size : (part + 1) * size]


@contextmanager
def _turn(how: int) -> Iterator[None]:
    with _locked(_FIELD) as field:
        with _locked(_GATE) as gate:
            fcntl.flock(gate, how)
            fcntl.flock(field, how)
        yield


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open, so that what is locked is free at the end."""
    opened = os.open(path, os.O_RDONLY)
    try:
        yield opened
    finally:
        os.close(opened)
