"""Templates and their versions: a version never changes, and one of them is active."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.store import audit
from adapters.store.change import change, looking
from adapters.store.database import Database
from adapters.store.sections import Section, Sections
from domain.templates.definition import Compiled, Definition, compiled

SECTION: Final = "templates"
MAX_TEMPLATES: Final = 500
"""Of one tenant."""
MAX_VERSIONS: Final = 500
"""Of one template."""

_encode = msgspec.json.Encoder().encode
_sorted = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(Definition).decode


class UnknownTemplate(Exception):
    """The tenant has no such template."""


class UnknownVersion(Exception):
    """The template has no such version."""


class TemplateExists(Exception):
    """The tenant has a template of this name."""


class TooMany(Exception):
    """The tenant has as many templates, or the template as many versions, as there may be."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version as it is looked at."""

    version: int
    created_at: datetime
    created_by: str
    definition: Definition


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """A template as it is looked at, with its versions, newest first."""

    name: str
    active: int
    created_at: datetime
    changed_at: datetime
    versions: tuple[Version, ...]

    @property
    def definition(self) -> Definition:
        """That of the active version."""
        return next(one.definition for one in self.versions if one.version == self.active)


class Library:
    """All templates as they are at one moment. A version is made ready when it is first used."""

    def __init__(
        self,
        active: dict[tuple[str, str], int],
        sources: dict[tuple[str, str, int], bytes],
        ready: dict[tuple[str, str, int], Compiled],
    ) -> None:
        self._active = active
        self._sources = sources
        self._ready = ready

    def active(self, tenant: str, name: str) -> int | None:
        """The version in use, None when there is no such template."""
        return self._active.get((tenant, name))

    def get(self, tenant: str, name: str, version: int) -> Compiled | None:
        """A version ready to be rendered, None when there is none."""
        if (tenant, name) not in self._active:
            return None
        key = (tenant, name, version)
        found = self._ready.get(key)
        if found is None:
            source = self._sources.get(key)
            if source is None:
                return None
            # Two threads may both make it: versions do not change.
            found = self._ready[key] = compiled(_decode(source))
        return found


def follow(sections: Sections) -> Section[Library]:
    """The templates, kept up to date: only new versions are read, and none is compiled again."""
    sources: dict[tuple[str, str, int], bytes] = {}
    ready: dict[tuple[str, str, int], Compiled] = {}
    last = 0

    def load(database: Database) -> Library:
        nonlocal last
        beginning = last == 0
        rows = database.execute(
            "SELECT number, tenant, name, version, definition_json FROM template_versions"
            " WHERE number > ? ORDER BY number",
            (last,),
        ).fetchall()
        for number, tenant, name, version, definition in rows:
            sources[tenant, name, version] = bytes(definition)
            last = number
            if not beginning:
                # Here, where no message waits for it. At the start there may be thousands.
                ready[tenant, name, version] = compiled(_decode(sources[tenant, name, version]))
        active = database.execute(
            "SELECT tenant, name, active FROM templates WHERE archived_at IS NULL"
        )
        return Library(
            {(tenant, name): version for tenant, name, version in active}, sources, ready
        )

    return sections.register(SECTION, load)


class TemplateStore:
    """Changes to templates, and looks at them. Every method blocks: call it in a thread."""

    def __init__(self, where: Path | str) -> None:
        self._where = where

    def create(self, tenant: str, name: str, definition: Definition, actor: str) -> StoredTemplate:
        """A new template with its first version, which is active. One that was removed begins
        again, with the next number. Raises TemplateExists, TooMany."""
        with self._changing(tenant, name) as (database, row):
            if row is not None and row[1] is None:
                raise TemplateExists
            [(count,)] = database.execute(
                "SELECT count(*) FROM templates WHERE tenant = ? AND archived_at IS NULL",
                (tenant,),
            ).fetchall()
            if count >= MAX_TEMPLATES:
                raise TooMany
            version = self._add(database, tenant, name, definition, actor)
            now = time.time()
            database.execute(
                "INSERT INTO templates (tenant, name, active, created_at, changed_at)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT (tenant, name) DO UPDATE SET"
                " active = excluded.active, created_at = excluded.created_at,"
                " changed_at = excluded.changed_at, archived_at = NULL",
                (tenant, name, version, now, now),
            )
            _note(database, actor, tenant, "create", name, {"version": version})
            return _get(database, tenant, name)

    def publish(
        self, tenant: str, name: str, definition: Definition, actor: str, *, activate: bool
    ) -> tuple[StoredTemplate, int]:
        """Add a version, and perhaps use it; the newest again is the same version. Returns the
        template and the version's number. Raises UnknownTemplate, TooMany."""
        with self._changing(tenant, name) as (database, row):
            if row is None or row[1] is not None:
                raise UnknownTemplate
            newest = database.execute(
                "SELECT version, digest FROM template_versions WHERE tenant = ? AND name = ?"
                " ORDER BY version DESC LIMIT 1",
                (tenant, name),
            ).fetchone()
            if newest[1] == _digest(definition):
                version = newest[0]
            else:
                version = self._add(database, tenant, name, definition, actor)
                _note(database, actor, tenant, "publish", name, {"version": version})
            if activate:
                self._activate(database, tenant, name, row[0], version, actor)
            return _get(database, tenant, name), version

    def activate(self, tenant: str, name: str, version: int, actor: str) -> StoredTemplate:
        """Use another version from now on. Raises UnknownTemplate, UnknownVersion."""
        with self._changing(tenant, name) as (database, row):
            if row is None or row[1] is not None:
                raise UnknownTemplate
            found = database.execute(
                "SELECT 1 FROM template_versions WHERE tenant = ? AND name = ? AND version = ?",
                (tenant, name, version),
            ).fetchone()
            if found is None:
                raise UnknownVersion
            self._activate(database, tenant, name, row[0], version, actor)
            return _get(database, tenant, name)

    def remove(self, tenant: str, name: str, actor: str) -> None:
        """Let no new message use it; those that do keep what they say. Raises UnknownTemplate."""
        with self._changing(tenant, name) as (database, row):
            if row is None or row[1] is not None:
                raise UnknownTemplate
            database.execute(
                "UPDATE templates SET archived_at = ? WHERE tenant = ? AND name = ?",
                (time.time(), tenant, name),
            )
            _note(database, actor, tenant, "remove", name, {"active": row[0]})

    def get(self, tenant: str, name: str) -> StoredTemplate:
        """A template with all its versions. Raises UnknownTemplate."""
        with looking(self._where) as database:
            return _get(database, tenant, name)

    def list(self, tenant: str) -> list[StoredTemplate]:
        """A tenant's templates by name, each with its active version only."""
        with looking(self._where) as database:
            rows = database.execute(
                "SELECT t.name, t.active, t.created_at, t.changed_at, v.version, v.created_at,"
                " v.created_by, v.definition_json FROM templates AS t"
                " JOIN template_versions AS v ON v.tenant = t.tenant AND v.name = t.name"
                " AND v.version = t.active"
                " WHERE t.tenant = ? AND t.archived_at IS NULL ORDER BY t.name",
                (tenant,),
            )
            return [
                StoredTemplate(name, active, _at(made), _at(changed), (_version(row),))
                for name, active, made, changed, *row in rows
            ]

    @contextmanager
    def _changing(
        self, tenant: str, name: str
    ) -> Iterator[tuple[Database, tuple[int, float | None] | None]]:
        with change(self._where, SECTION) as database:
            row = database.execute(
                "SELECT active, archived_at FROM templates WHERE tenant = ? AND name = ?",
                (tenant, name),
            ).fetchone()
            yield database, row

    @staticmethod
    def _add(database: Database, tenant: str, name: str, definition: Definition, actor: str) -> int:
        [(newest,)] = database.execute(
            "SELECT max(version) FROM template_versions WHERE tenant = ? AND name = ?",
            (tenant, name),
        ).fetchall()
        version: int = (newest or 0) + 1
        if version > MAX_VERSIONS:
            raise TooMany
        database.execute(
            "INSERT INTO template_versions"
            " (tenant, name, version, digest, definition_json, created_at, created_by)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (tenant, name, version, _digest(definition), _encode(definition), time.time(), actor),
        )
        return version

    @staticmethod
    def _activate(
        database: Database, tenant: str, name: str, before: int, version: int, actor: str
    ) -> None:
        if version == before:
            return
        database.execute(
            "UPDATE templates SET active = ?, changed_at = ? WHERE tenant = ? AND name = ?",
            (version, time.time(), tenant, name),
        )
        _note(
            database,
            actor,
            tenant,
            "activate",
            name,
            audit.difference({"version": before}, {"version": version}),
        )


def _get(database: Database, tenant: str, name: str) -> StoredTemplate:
    row = database.execute(
        "SELECT active, created_at, changed_at FROM templates"
        " WHERE tenant = ? AND name = ? AND archived_at IS NULL",
        (tenant, name),
    ).fetchone()
    if row is None:
        raise UnknownTemplate
    versions = database.execute(
        "SELECT version, created_at, created_by, definition_json FROM template_versions"
        " WHERE tenant = ? AND name = ? ORDER BY version DESC",
        (tenant, name),
    ).fetchall()
    return StoredTemplate(name, row[0], _at(row[1]), _at(row[2]), tuple(map(_version, versions)))


def _version(row: Any) -> Version:
    version, created_at, created_by, definition = row
    return Version(version, _at(created_at), created_by, _decode(bytes(definition)))


def _note(
    database: Database, actor: str, tenant: str, verb: str, name: str, detail: dict[str, Any]
) -> None:
    audit.note(database, actor, tenant, f"template.{verb}", name, detail)


def _digest(definition: Definition) -> str:
    return hashlib.sha256(_sorted(definition)).hexdigest()


def _at(epoch: float) -> datetime:
    return datetime.fromtimestamp(round(epoch, 3), UTC)
