"""Imports as work of their own: a process each, whose progress is in the database.

A file of 10 million addresses keeps a core busy for a minute. The process that took it over the API
only stores it. One that breaks off is taken up again when an API process starts; doing it twice
changes nothing.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.store.audit import note
from adapters.store.change import change, looking
from adapters.store.database import Database, is_postgres
from adapters.store.schema import open_store
from adapters.suppression.hashing import Hasher
from adapters.suppression.importing import FEW, Fault, Imported, Purpose, import_file
from adapters.suppression.rewrite import rewrite
from adapters.suppression.store import open_lists
from domain.message import Category
from domain.suppression import from_bits, to_bits

PREFIX: Final = "imp_"
_SILENT: Final = 30.0
"""Seconds after which an import that says nothing has broken off."""
_TOLD_EVERY: Final = 1.0
_decode_faults = msgspec.json.Decoder(list[Fault]).decode
_encode = msgspec.json.Encoder().encode
_COLUMNS: Final = (
    "id, tenant, channel, categories, status, lines, added, refused, faults_json, created_at,"
    " ended_at"
)
logger = logging.getLogger(__name__)


class ImportStatus(str, Enum):
    """How far an import is."""

    RUNNING = "running"
    DONE = "done"  # and in use
    FAILED = "failed"  # what was written stays


class Busy(Exception):
    """The tenant has an import under way."""


@dataclass(frozen=True, slots=True)
class ImportJob:
    """One import."""

    id: str
    tenant: str
    channel: str
    categories: frozenset[Category]
    status: ImportStatus
    imported: Imported
    created_at: datetime
    ended_at: datetime | None


class ImportJobs:
    """The imports of one database, as a process begins and looks at them. Methods block, for some
    milliseconds. `directory` is where this machine has its images and the files."""

    def __init__(self, where: Path | str, directory: Path, secret: bytes) -> None:
        self._where = where
        self._directory = directory
        self._secret = secret
        self._children: list[subprocess.Popen[bytes]] = []

    def file(self, job: str) -> Path:
        """Where an import's file has to be before it begins."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._directory / f"{job}.csv"

    @staticmethod
    def new_id() -> str:
        """The id of an import to be."""
        return PREFIX + secrets.token_hex(10)

    def begin(
        self, job: str, tenant: str, channel: str, categories: frozenset[Category], actor: str
    ) -> ImportJob:
        """Import the file of `job`. Raises Busy."""
        now = round(time.time(), 3)
        # The section is touched so that two requests of a tenant come one after the other.
        with change(self._where, "suppression imports") as database:
            running = database.execute(
                "SELECT id FROM suppression_imports WHERE tenant = ? AND status = ?"
                " AND updated_at > ?",
                (tenant, ImportStatus.RUNNING.value, now - _SILENT),
            ).fetchone()
            if running is not None:
                raise Busy
            database.execute(
                "INSERT INTO suppression_imports (id, tenant, actor, channel, categories, status,"
                " lines, added, refused, faults_json, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, '[]', ?, ?)",
                (
                    job,
                    tenant,
                    actor,
                    channel,
                    to_bits(categories),
                    ImportStatus.RUNNING.value,
                    now,
                    now,
                ),
            )
            note(database, actor, tenant, "suppression.import", job, {"channel": channel})
        self._spawn(job)
        found = self.get(tenant, job)
        assert found is not None
        return found

    def get(self, tenant: str, job: str) -> ImportJob | None:
        """A tenant's import."""
        with looking(self._where) as database:
            row = database.execute(
                f"SELECT {_COLUMNS} FROM suppression_imports WHERE id = ? AND tenant = ?",
                (job, tenant),
            ).fetchone()
        return None if row is None else _job(row)

    def wait(self) -> None:
        """Wait for the processes that were begun here."""
        for child in self._children:
            child.wait()

    def recover(self) -> None:
        """Take up what broke off on this machine."""
        with looking(self._where) as database:
            rows = database.execute(
                "SELECT id FROM suppression_imports WHERE status = ? AND updated_at < ?",
                (ImportStatus.RUNNING.value, time.time() - _SILENT),
            ).fetchall()
        for (job,) in rows:
            if self.file(job).exists():
                logger.info("import %s is taken up again", job)
                self._spawn(job)

    def _spawn(self, job: str) -> None:
        self._children = [child for child in self._children if child.poll() is None]
        child = subprocess.Popen(
            [sys.executable, "-m", "adapters.suppression.jobs"], stdin=subprocess.PIPE
        )
        self._children.append(child)
        # Neither the address, with its password, nor the secret belongs on a command line.
        task = {
            "where": str(self._where),
            "directory": str(self._directory),
            "secret": self._secret.hex(),
            "job": job,
        }
        assert child.stdin is not None
        child.stdin.write(json.dumps(task).encode())
        child.stdin.close()


def carry_out(where: Path | str, directory: Path, secret: bytes, job: str) -> None:
    """Do one import, from the file to its use."""
    hasher = Hasher(secret)
    path = directory / f"{job}.csv"
    with closing(open_store(where, "hermes")) as database:
        found = database.execute(
            "SELECT tenant, channel, categories FROM suppression_imports WHERE id = ?", (job,)
        ).fetchone()
        tenant, channel, categories = found
        list_id = open_lists(database, hasher)
        told = 0.0
        seen = Imported()

        def progress(imported: Imported) -> None:
            nonlocal told, seen
            seen = imported
            if time.monotonic() - told >= _TOLD_EVERY:
                told = time.monotonic()
                _tell(database, job, imported, ImportStatus.RUNNING)

        try:
            with path.open(encoding="utf-8", errors="replace", newline="") as file:
                purpose = Purpose(tenant, channel, from_bits(categories), job)
                imported = import_file(database, hasher, file, purpose, directory, progress)
            if imported.lines > FEW:
                rewrite(where, directory, list_id)
        except BaseException:
            _tell(database, job, seen, ImportStatus.FAILED)
            raise
        _tell(database, job, imported, ImportStatus.DONE)
    path.unlink(missing_ok=True)


def _tell(database: Database, job: str, imported: Imported, status: ImportStatus) -> None:
    now = round(time.time(), 3)
    database.execute(
        "UPDATE suppression_imports SET status = ?, lines = ?, added = ?, refused = ?,"
        " faults_json = ?, updated_at = ?, ended_at = ? WHERE id = ?",
        (
            status.value,
            imported.lines,
            imported.added,
            imported.refused,
            _encode(imported.faults).decode(),
            now,
            None if status is ImportStatus.RUNNING else now,
            job,
        ),
    )


def _job(row: Any) -> ImportJob:
    job, tenant, channel, categories, status, lines, added, refused, faults, begun, ended = row
    return ImportJob(
        job,
        tenant,
        channel,
        from_bits(categories),
        ImportStatus(status),
        Imported(lines, added, refused, _decode_faults(faults)),
        datetime.fromtimestamp(begun, UTC),
        None if ended is None else datetime.fromtimestamp(ended, UTC),
    )


def _main() -> None:
    os.nice(5)
    task = json.load(sys.stdin)
    where = task["where"]
    carry_out(
        where if is_postgres(where) else Path(where),
        Path(task["directory"]),
        bytes.fromhex(task["secret"]),
        task["job"],
    )


if __name__ == "__main__":
    _main()
