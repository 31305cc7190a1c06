"""Imports as work of their own: a process each, whose progress is in the database.

A file of 10 million addresses keeps a core busy for a minute. The process that took it over the API
only stores it. One that breaks off is taken up again when an API process starts; doing it twice
changes nothing.

A tenant has one import at a time, from before its file is read: so it has one file here. The files
hold addresses as they are, and none outlives its import, however that ends.
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
KEEP_EVERY: Final = 5.0
"""Seconds between two words of an import whose file is still coming."""
_ABANDONED: Final = 86_400.0
"""Seconds after which one that says nothing will not be taken up again: its machine is gone."""
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

    def coming(self, job: str) -> Path:
        """Where an import's file is until all of it is there."""
        return self.file(job).with_suffix(".part")

    def reserve(
        self, job: str, tenant: str, channel: str, categories: frozenset[Category], actor: str
    ) -> None:
        """Take the tenant's place for an import whose file comes next: `keep` it meanwhile, then
        `start` the import, or `give_up`. Raises Busy."""
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

    def keep(self, job: str) -> None:
        """Say that an import's file is still coming."""
        with change(self._where) as database:
            database.execute(
                "UPDATE suppression_imports SET updated_at = ? WHERE id = ?", (time.time(), job)
            )

    def give_up(self, job: str) -> None:
        """There is no import: its file did not come."""
        for path in (self.coming(job), self.file(job)):
            path.unlink(missing_ok=True)
        with change(self._where) as database:
            database.execute("DELETE FROM suppression_imports WHERE id = ?", (job,))

    def start(self, job: str) -> ImportJob:
        """Begin the import whose place was reserved; its file is there, or all of it has come."""
        if (coming := self.coming(job)).exists():
            coming.replace(self.file(job))
        with change(self._where) as database:
            database.execute(
                "UPDATE suppression_imports SET updated_at = ? WHERE id = ?", (time.time(), job)
            )
            row = database.execute(
                f"SELECT actor, {_COLUMNS} FROM suppression_imports WHERE id = ?", (job,)
            ).fetchone()
            actor, found = row[0], _job(row[1:])
            note(
                database, actor, found.tenant, "suppression.import", job, {"channel": found.channel}
            )
        self._spawn(job)
        return found

    def begin(
        self, job: str, tenant: str, channel: str, categories: frozenset[Category], actor: str
    ) -> ImportJob:
        """Import the file of `job`, which is there. Raises Busy."""
        self.reserve(job, tenant, channel, categories, actor)
        return self.start(job)

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

    def tidy(self) -> None:
        """Remove the files on this machine of which nothing will come any more, with the addresses
        in them; to be called now and then."""
        # Listed before the imports are: a file has an import before it is there.
        files = [*self._directory.glob(f"{PREFIX}*.csv"), *self._directory.glob(f"{PREFIX}*.part")]
        now = time.time()
        with change(self._where) as database:
            database.execute(
                "UPDATE suppression_imports SET status = ?, ended_at = ?"
                " WHERE status = ? AND updated_at < ?",
                (ImportStatus.FAILED.value, now, ImportStatus.RUNNING.value, now - _ABANDONED),
            )
            rows = database.execute(
                "SELECT id, updated_at FROM suppression_imports WHERE status = ?",
                (ImportStatus.RUNNING.value,),
            ).fetchall()
        running = dict(rows)
        for path in files:
            heard_at = running.get(path.stem)
            # Whoever was receiving the file would have said so; a whole one is taken up again.
            lost = path.suffix == ".part" and heard_at is not None and heard_at < now - _SILENT
            if heard_at is None or lost:
                path.unlink(missing_ok=True)
                logger.info("the file of import %s was left behind, and is removed", path.stem)

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
    """Do one import, from the file to its use. Nothing happens to one that has ended: several
    processes that start at once may take it up."""
    hasher = Hasher(secret)
    path = directory / f"{job}.csv"
    with closing(open_store(where, "hermes")) as database:
        found = database.execute(
            "SELECT tenant, channel, categories FROM suppression_imports"
            " WHERE id = ? AND status = ?",
            (job, ImportStatus.RUNNING.value),
        ).fetchone()
        if found is None:
            return
        tenant, channel, categories = found
        told = 0.0
        seen = Imported()

        def progress(imported: Imported) -> None:
            nonlocal told, seen
            seen = imported
            if time.monotonic() - told >= _TOLD_EVERY:
                told = time.monotonic()
                _tell(database, job, imported, ImportStatus.RUNNING)

        try:
            list_id = open_lists(database, hasher)
            with path.open(encoding="utf-8", errors="replace", newline="") as file:
                purpose = Purpose(tenant, channel, from_bits(categories), job)
                imported = import_file(database, hasher, file, purpose, directory, progress)
            if imported.lines > FEW:
                rewrite(where, directory, list_id)
        except BaseException:
            # Not said, it would be taken up again, and needs its file.
            _tell(database, job, seen, ImportStatus.FAILED)
            path.unlink(missing_ok=True)
            raise
        _tell(database, job, imported, ImportStatus.DONE)
    path.unlink(missing_ok=True)


def _tell(database: Database, job: str, imported: Imported, status: ImportStatus) -> None:
    now = round(time.time(), 3)
    database.execute(
        "UPDATE suppression_imports SET status = ?, lines = ?, added = ?, refused = ?,"
        " faults_json = ?, updated_at = ?, ended_at = ? WHERE id = ? AND status = ?",
        (
            status.value,
            imported.lines,
            imported.added,
            imported.refused,
            _encode(imported.faults).decode(),
            now,
            None if status is ImportStatus.RUNNING else now,
            job,
            # Its end is said once, whoever else carries it out.
            ImportStatus.RUNNING.value,
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
