"""Numbered migrations: `migrations/{schema}_{number}.sql`, the same for every database."""

from __future__ import annotations

from pathlib import Path

from adapters.store.database import Database, connect

_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(database: Database, schema: str) -> None:
    """Bring a schema up to date; safe to run from several processes at once. A migration that
    fails leaves nothing of what it and those before it did."""
    with database.transaction():
        version = database.version(schema)
        steps = sorted(
            (int(file.stem.rpartition("_")[2]), file)
            for file in _MIGRATIONS.glob(f"{schema}_*.sql")
        )
        for number, file in steps:
            if number <= version:
                continue
            for statement in file.read_text().split(";\n"):
                if statement.strip():
                    database.migrated(schema, number, statement)


def open_store(where: Path | str, schema: str) -> Database:
    """Open a file or `postgresql://…` and bring the schema up to date."""
    database = connect(where)
    try:
        migrate(database, schema)
    except BaseException:
        database.close()
        raise
    return database
