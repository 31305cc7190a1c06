"""Several restate-servers on this machine as one cluster, whose log is replicated."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from infra.bench.scenario import Run
from infra.bench.site import EVERYTHING, Peer, Site, site
from infra.local.ports import HOST, Ports
from infra.local.stack import ROOT, restate_server
from infra.local.supervision import (
    Component,
    Incident,
    Reaper,
    Supervised,
    every,
    http_ok,
)

NODES: Final = 3
_REPLICATION: Final = 2
"""Copies of each record, and nodes that hold each partition: one node may be lost."""
_MEMORY: Final = "256MB"
_UP_WITHIN: Final = 60.0
_STOP_WITHIN: Final = 4.0
_TRY_EVERY: Final = 0.2
_QUIET: Final = 3.0
_PATIENCE: Final = 10.0
_PROVISIONED: Final = "successfully provisioned"
_LEADS: Final = re.compile(r"^restate_num_active_partition_leaders{[^}]*} (\d+)$", re.MULTILINE)


class ClusterFailed(Exception):
    """The cluster did not come up; the message says what was said."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A server's number, which the cluster knows it by, and its three ports."""

    number: int
    ingress: int
    admin: int
    fabric: int

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def fabric_url(self) -> str:
        return f"http://{HOST}:{self.fabric}"


class Cluster:
    """Three nodes, each of which does everything; the log, and each partition, is on two of them.

    As a context manager it starts on entry and stops on exit. All methods block. A node that dies
    by itself is started again; one that `kill` has ended stays away until `start`.
    """

    def __init__(self, directory: Path, *, partitions: int) -> None:
        ports = [port for _, port in Ports.free()]
        self._nodes = {
            node.name: node
            for node in (
                _Node(number, *ports[3 * number - 3 : 3 * number]) for number in range(1, NODES + 1)
            )
        }
        self._directory = directory
        self._partitions = partitions
        self._running: dict[str, Supervised] = {}
        self._reaper: Reaper | None = None

    # --- where to find it

    @property
    def ingresses(self) -> Sequence[str]:
        """The trusted door of each node."""
        return [f"http://{HOST}:{node.ingress}" for node in self._nodes.values()]

    @property
    def door(self) -> Mapping[str, int]:
        """One node's ports, as the stack calls them."""
        node = next(iter(self._nodes.values()))
        return {"ingress": node.ingress, "admin": node.admin, "fabric": node.fabric}

    @property
    def nodes(self) -> Sequence[str]:
        """Their names."""
        return list(self._nodes)

    def pids(self) -> dict[str, int]:
        """The process ids of the nodes that run."""
        found = {name: supervised.pid for name, supervised in self._running.items()}
        return {name: pid for name, pid in found.items() if pid is not None}

    # --- its life

    def __enter__(self) -> Self:
        self._reaper = Reaper()
        self._directory.mkdir(parents=True)
        try:
            for name in self._nodes:
                self.start(name)
            deadline = time.monotonic() + _UP_WITHIN
            self._provision(deadline)
            for name in self._nodes:
                self._running[name].wait_ready(deadline)
            while sum(self.led_by().values()) < self._partitions:
                if time.monotonic() > deadline:
                    raise ClusterFailed(f"leaders of partitions: {self.led_by()}")
                time.sleep(_TRY_EVERY)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        for supervised in self._running.values():
            supervised.stop()
        until = time.monotonic() + _STOP_WITHIN
        for supervised in self._running.values():
            supervised.join(max(0.0, until - time.monotonic()))
        if self._reaper is not None:
            self._reaper.close()

    # --- what happens to it

    def start(self, name: str) -> None:
        """Start a node on what it has on disk; returns at once."""
        assert self._reaper is not None
        node = self._nodes[name]
        ready = every(http_ok(node.ingress, "/restate/health"), http_ok(node.admin, "/health"))
        file = str(ROOT / "restate.toml")
        supervised = self._running[name] = Supervised(
            Component(name, (str(restate_server()), "--no-logo", "--config-file", file), ready),
            log=self._directory / f"{name}.log",
            directory=ROOT,
            environment=self._environment(node),
            reaper=self._reaper,
            on_change=_nothing,
            on_incident=_nothing,
        )
        supervised.start()

    def wait_ready(self, name: str, within: float) -> None:
        """Return once a node answers at its doors. Raises ComponentFailed."""
        self._running[name].wait_ready(time.monotonic() + within)

    def kill(self, name: str) -> None:
        """End a node by SIGKILL, and leave it so; returns once it is gone."""
        supervised = self._running[name]
        supervised.signal(signal.SIGKILL)
        supervised.stop()
        supervised.join(_PATIENCE)

    # --- what it says of itself

    def wait_settled(self, within: float) -> int:
        """Return once every living node knows of every partition again, and has for a while: how
        many they are. After a node's coming or going partitions move, and for some seconds a
        server's tables say this and that. Raises ClusterFailed."""
        deadline = time.monotonic() + within
        since: float | None = None
        while True:
            answering = [name for name in self.pids() if self._answers(self._nodes[name])]
            since = since or time.monotonic() if len(answering) == len(self.pids()) else None
            if since is not None and time.monotonic() - since > _QUIET:
                return len(answering)
            if time.monotonic() > deadline:
                raise ClusterFailed(f"only {answering} answer")
            time.sleep(_TRY_EVERY)

    def _answers(self, node: _Node) -> bool:
        request = urllib.request.Request(
            f"http://{HOST}:{node.admin}/query",
            data=json.dumps({"query": "SELECT count(*) AS n FROM sys_invocation"}).encode(),
            headers={"content-type": "application/json", "accept": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE):  # noqa: S310 - ours
                return True
        except (OSError, http.client.HTTPException):
            return False

    def led_by(self) -> dict[str, int]:
        """How many partitions each living node leads."""
        return {name: self._leads(self._nodes[name]) for name in self.pids()}

    def _leads(self, node: _Node) -> int:
        # By its own counters: the server's tables do not say it.
        url = f"{node.fabric_url}/metrics"
        with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:  # noqa: S310 - ours
            found = _LEADS.search(answer.read().decode())
        return int(found[1]) if found else 0

    # --- how it is made

    def _environment(self, node: _Node) -> dict[str, str]:
        metadata = [each.fabric_url for each in self._nodes.values()]
        return {
            **os.environ,
            "RESTATE_NODE_NAME": node.name,
            "RESTATE_FORCE_NODE_ID": str(node.number),
            "RESTATE_BASE_DIR": str(self._directory / node.name),
            "RESTATE_BIND_PORT": str(node.fabric),
            "RESTATE_ADMIN__BIND_PORT": str(node.admin),
            "RESTATE_INGRESS__BIND_PORT": str(node.ingress),
            "RESTATE_AUTO_PROVISION": "false",
            "RESTATE_METADATA_CLIENT__ADDRESSES": json.dumps(metadata),
            # restate.toml has the local log, which one node keeps for itself.
            "RESTATE_BIFROST__DEFAULT_PROVIDER": "replicated",
            "RESTATE_ROCKSDB_TOTAL_MEMORY_SIZE": _MEMORY,
            "RESTATE_LOG_DISABLE_ANSI_CODES": "true",
        }

    def _provision(self, deadline: float) -> None:
        """Make the nodes one cluster, as an operator does."""
        first = next(iter(self._nodes.values()))
        command = [
            *(str(ROOT / "node_modules" / ".bin" / "restatectl"), "provision", "--yes"),
            *("--address", first.fabric_url, "--log-provider", "replicated"),
            *("--log-replication", str(_REPLICATION)),
            *("--partition-replication", str(_REPLICATION)),
            *("--num-partitions", str(self._partitions)),
        ]
        while True:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if _PROVISIONED in done.stdout:
                return
            # It does not listen yet, which restatectl's exit code does not say.
            if time.monotonic() > deadline:
                raise ClusterFailed(f"restatectl provision: {done.stdout}{done.stderr}")
            time.sleep(_TRY_EVERY)


@contextlib.contextmanager
def beside(run: Run, cluster: Cluster, *peers: Peer) -> Iterator[Site]:
    """A stack without a restate-server of its own, which uses the cluster; with a carrier, unless
    `peers` says more."""
    doors = {"HERMES_RESTATE__INGRESS": json.dumps(list(cluster.ingresses))}
    ours = [name for name in EVERYTHING if name != "restate"]
    with site(run, *(peers or (Peer(),)), components=ours, environment=doors) as stage:
        ports = stage.stack.ports = stage.stack.ports.with_changes(dict(cluster.door))
        stage.stack.register(f"http://{HOST}:{ports.endpoint}")
        stage.stack.register(f"http://{HOST}:{ports.pool}", http_1_1=True)
        yield stage


def _nothing(incident: Incident | None = None) -> None:
    """Nobody is told: what a dead node has cost, the measurement shows."""
