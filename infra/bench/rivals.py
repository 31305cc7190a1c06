"""Two engines under one load: Hermes, and the same cascade on Temporal's dev server.

Both are asked over HTTP in the same words, send through the same bind pool to an SMSC simulator
and a mail sink of their own, and keep what they know on disk, synced.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sqlite3
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import psutil

from infra.bench.processes import Processes
from infra.bench.scenario import Run
from infra.bench.site import TENANT, Peer, Site, site
from infra.bench.smsc import Smsc, start_smsc
from infra.bench.throughput import PRODUCT
from infra.local.ports import HOST, Ports
from infra.local.stack import CARRYING, ROOT
from infra.local.supervision import http_ok

_TEMPORAL = ("temporal", "worker")
"""The processes that a message's price is counted over on Temporal's side."""
_PATIENCE = 30.0
_NEWEST = 10_000
"""Mails that a sink lists at once, and keeps."""
_PROTOTYPE = "tests.comparison.temporal"
# By the index on status: asked several times a second.
_UNDER_WAY = """
    SELECT count(*) FROM messages
    WHERE tenant = ? AND mode = 'live' AND status IN ('processing', 'scheduled')
"""
# By the engine's clock, as on the other side: the message's own record ends with its receipt.
_ENDED = """
    SELECT target_service_key AS id, completed_at FROM sys_invocation
    WHERE target_service_name = 'Message' AND target_handler_name = 'send' AND status = 'completed'
"""


class NotInstalled(Exception):
    """Temporal is not there; the message says how to get it."""


class Rival(Protocol):
    """A running engine. All methods block."""

    name: str
    url: str
    key: str
    smsc: Smsc

    def pids(self) -> dict[str, int]:
        """The processes whose CPU a message costs."""
        ...

    def in_flight(self) -> int:
        """Messages accepted and not ended."""
        ...

    def ended(self) -> dict[str, float]:
        """When messages ended, well or badly, by id, in seconds since the epoch."""
        ...

    def mailed(self) -> Counter[str]:
        """Every text that the mail sink took, and how often. Raises RuntimeError when there were
        more than it keeps."""
        ...

    def kill(self) -> None:
        """Server and workers die by SIGKILL; they are started again."""
        ...


class _Mails:
    """The mail sink of an engine."""

    mail_url: str

    def mailed(self) -> Counter[str]:
        mails = _ask(f"{self.mail_url}/messages?limit={_NEWEST}")["messages"]
        if len(mails) == _NEWEST:
            raise RuntimeError(f"the mail sink lists {_NEWEST:,} mails, and may have had more")
        return Counter((mail["text"] or "").strip() for mail in mails)


class Hermes(_Mails):
    """The ordinary stack, through its API."""

    name = "Hermes"

    def __init__(self, site: Site) -> None:
        self._stack = site.stack
        self._log = site.log
        self.url = site.stack.api_url
        self.key = site.stack.keys[TENANT]
        self.smsc = site.smsc
        self.mail_url = site.stack.mail_url

    def pids(self) -> dict[str, int]:
        found = self._stack.pids()
        return {name: found[name] for name in PRODUCT if name in found}

    def in_flight(self) -> int:
        with contextlib.closing(sqlite3.connect(f"file:{self._log}?mode=ro", uri=True)) as log:
            [count] = log.execute(_UNDER_WAY, (TENANT,)).fetchone()
        return int(count)

    def ended(self) -> dict[str, float]:
        rows = _ask(f"{self._stack.admin_url}/query", {"query": _ENDED})["rows"]
        return {row["id"]: _seconds(row["completed_at"]) for row in rows}

    def kill(self) -> None:
        for name in PRODUCT:
            self._stack.kill(name)


class Temporal(_Mails):
    """The prototype below tests/comparison/, on a dev server with a file."""

    name = "Temporal"
    key = "none"

    def __init__(self, processes: Processes, door: int, smsc: Smsc, mail_control: int) -> None:
        self._processes = processes
        self.url = f"http://{HOST}:{door}"
        self.smsc = smsc
        self.mail_url = f"http://{HOST}:{mail_control}"

    def pids(self) -> dict[str, int]:
        found = self._processes.pids()
        return {name: found[name] for name in _TEMPORAL if name in found}

    def in_flight(self) -> int:
        return int(_ask(f"{self.url}/in-flight"))

    def ended(self) -> dict[str, float]:
        return dict(_ask(f"{self.url}/ended"))

    def kill(self) -> None:
        for pid in self.pids().values():
            for process in (*psutil.Process(pid).children(recursive=True), psutil.Process(pid)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def hermes(run: Run) -> Iterator[Hermes]:
    """Start the stack with its simulators; all of it ends with the block."""
    with site(run, Peer(), components=[name for name in CARRYING if name != "smsc"]) as stage:
        yield Hermes(stage)


@contextlib.contextmanager
def temporal(run: Run) -> Iterator[Temporal]:
    """Start server, worker and simulators; all of it ends with the block.

    Raises NotInstalled.
    """
    binary = _binary()
    directory = run.directory / "temporal"
    directory.mkdir()
    ports = Ports.free()
    target = f"{HOST}:{ports.ingress}"
    python = (sys.executable, "-m")
    with Processes(directory) as processes:
        smsc = start_smsc(processes, "smsc")
        processes.start(
            "mail",
            [
                *(*python, "infra.simulators.mail_sink", "--host", HOST),
                *("--port", str(ports.mail), "--control-port", str(ports.mail_control)),
            ],
            http_ok(ports.mail_control, "/stats"),
        )
        processes.start(
            "temporal",
            [
                *(binary, "server", "start-dev", "--headless", "--log-level", "error"),
                *("--ip", HOST, "--port", str(ports.ingress), "--http-port", str(ports.admin)),
                *("--metrics-port", str(ports.fabric), "--db-filename", str(directory / "t.db")),
                *_flags(TUNED),
            ],
            http_ok(ports.admin, "/api/v1/namespaces/default"),
        )
        processes.start(
            "worker",
            [
                *(*python, f"{_PROTOTYPE}.worker", "--target", target),
                *("--port", str(ports.api), "--directory", str(directory)),
                *("--smsc-port", str(smsc.port), "--mail-port", str(ports.mail)),
            ],
            http_ok(ports.api, "/in-flight"),
        )
        processes.wait_ready(60.0)
        yield Temporal(processes, ports.api, smsc, ports.mail_control)


TUNED: Mapping[str, str] = {
    # The default is a rollback journal: two syncs and a copy of every page for each commit.
    "--sqlite-pragma journal_mode": "wal",
    "--sqlite-pragma synchronous": "full",
}
"""Flags of the dev server beside its defaults."""


def _flags(options: Mapping[str, str]) -> Iterator[str]:
    for option, value in options.items():
        flag, name = option.split()
        yield from (flag, f"{name}={value}")


def _binary() -> str:
    """The dev server's program."""
    here = Path(sys.executable).parent
    found = shutil.which("temporal", path=str(here)) or shutil.which("temporal")
    prototype = ROOT.joinpath(*_PROTOTYPE.split("."))
    if found is None or find_spec("temporalio") is None or not prototype.is_dir():
        raise NotInstalled(
            "Temporal's dev server and SDK are needed, and Hermes's source tree: "
            "pip install -e '.[comparison]'"
        )
    return found


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _ask(url: str, question: Any = None) -> Any:
    request = urllib.request.Request(  # noqa: S310 - ours
        url,
        data=None if question is None else json.dumps(question).encode(),
        headers={"content-type": "application/json", "accept": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310 - ours
        return json.loads(answer.read())
