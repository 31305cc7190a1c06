"""Templates and their versions: a version never changes, and one of them is active."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
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
from adapters.templates.versions import Key, Versions
from domain.templates.definition import Compiled, Definition

SECTION: Final = "templates"
MAX_TEMPLATES: Final = 500
"""Of one tenant."""
MAX_VERSIONS: Final = 500
"""Of one template."""
MAX_OCTETS: Final = 16 * 2**20
"""Of all versions of all templates of one tenant, as JSON."""
_MOST_MISSING: Final = 10_000

_encode = msgspec.json.Encoder().encode
_sorted = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(Definition).decode


class _Languages(msgspec.Struct):
    """Of a definition only in which languages it is, which costs little to find out."""

    languages: dict[str, msgspec.Raw]


_languages = msgspec.json.Decoder(_Languages).decode


class UnknownTemplate(Exception):
    """The tenant has no such template."""


class UnknownVersion(Exception):
    """The template has no such version."""


class TemplateExists(Exception):
    """The tenant has a template of this name."""


class TooMany(Exception):
    """The tenant has as many templates, or the template as many versions, as there may be; or all
    that the tenant's templates say is as long as it may be."""


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One version in the list of them."""

    version: int
    languages: tuple[str, ...]
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class Version:
    """One version as it was published."""

    version: int
    active: bool
    created_at: datetime
    created_by: str
    definition: Definition


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """A template as it is looked at: what its active version says, and all of them, newest first.
    `versions` is empty where templates are listed."""

    name: str
    active: int
    created_at: datetime
    changed_at: datetime
    definition: Definition
    versions: tuple[VersionLine, ...] = ()


class Library:
    """All templates as they are at one moment: `active` has the version in use, and when the
    template was created. For the event loop."""

    def __init__(
        self, active: Mapping[tuple[str, str], tuple[int, float]], versions: Versions
    ) -> None:
        self._active = active
        self._versions = versions
        # As long as nothing changes: whoever asks again and again shall not ask the database.
        self._missing: set[Key] = set()

    def active(self, tenant: str, name: str) -> int | None:
        """The version in use, None when there is no such template."""
        found = self._active.get((tenant, name))
        return None if found is None else found[0]

    def ready(self, tenant: str, name: str, version: int) -> Compiled | None:
        """A version that can be rendered at once; None when it has to be asked for with `get`."""
        key = self._key(tenant, name, version)
        return None if key is None else self._versions.ready(key)

    async def get(self, tenant: str, name: str, version: int) -> Compiled | None:
        """A version ready to be rendered, None when there is none. Raises what the database
        raises, and Faulty when what was good once is so no longer."""
        key = self._key(tenant, name, version)
        if key is None or key in self._missing:
            return None
        found = self._versions.ready(key) or await self._versions.get(key)
        if found is None and len(self._missing) < _MOST_MISSING:
            self._missing.add(key)
        return found

    def _key(self, tenant: str, name: str, version: int) -> Key | None:
        found = self._active.get((tenant, name))
        return None if found is None else Key(tenant, name, found[1], version)


def follow(sections: Sections, store: TemplateStore) -> Section[Library]:
    """The templates, kept up to date: which there are is in memory, what they say is read from
    the store when it is first needed."""
    versions = Versions(store.source)

    def load(database: Database) -> Library:
        rows = database.execute(
            "SELECT tenant, name, active, created_at FROM templates WHERE archived_at IS NULL"
        )
        active = {(tenant, name): (version, made) for tenant, name, version, made in rows}
        return Library(active, versions)

    return sections.register(SECTION, load)


class TemplateStore:
    """Changes to templates, and looks at them. Every method blocks: call it in a thread."""

    def __init__(self, where: Path | str) -> None:
        self._where = where

    def create(self, tenant: str, name: str, definition: Definition, actor: str) -> StoredTemplate:
        """A new template with its first version, which is active. One that was removed begins
        again, with the next number and without its old versions. Raises TemplateExists,
        TooMany."""
        with self._changing(tenant, name) as (database, row):
            if row is not None and row[1] is None:
                raise TemplateExists
            [(count,)] = database.execute(
                "SELECT count(*) FROM templates WHERE tenant = ? AND archived_at IS NULL",
                (tenant,),
            ).fetchall()
            if count >= MAX_TEMPLATES:
                raise TooMany
            before = None if row is None else row[0]
            version = self._add(database, tenant, name, definition, actor, before)
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
    ) -> Version:
        """Add a version, and perhaps use it; the newest again is the same version. Raises
        UnknownTemplate, TooMany."""
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
            return _get_version(database, tenant, name, version)

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
        """Let no new message use it, and forget what it said; messages that were made from it
        keep what they say. Raises UnknownTemplate."""
        with self._changing(tenant, name) as (database, row):
            if row is None or row[1] is not None:
                raise UnknownTemplate
            # From there the numbers go on, should it be created again.
            database.execute(
                "UPDATE templates SET archived_at = ?, active = (SELECT max(version)"
                " FROM template_versions WHERE tenant = ? AND name = ?)"
                " WHERE tenant = ? AND name = ?",
                (time.time(), tenant, name, tenant, name),
            )
            database.execute(
                "DELETE FROM template_versions WHERE tenant = ? AND name = ?", (tenant, name)
            )
            _note(database, actor, tenant, "remove", name, {"active": row[0]})

    def get(self, tenant: str, name: str) -> StoredTemplate:
        """A template with all its versions. Raises UnknownTemplate."""
        with looking(self._where) as database:
            return _get(database, tenant, name)

    def version(self, tenant: str, name: str, version: int) -> Version:
        """One version. Raises UnknownTemplate, UnknownVersion."""
        with looking(self._where) as database:
            return _get_version(database, tenant, name, version)

    def source(self, key: Key) -> bytes | None:
        """A version's definition as it is stored, None when there is none."""
        with looking(self._where) as database:
            row = database.execute(
                "SELECT definition_json FROM template_versions"
                " WHERE tenant = ? AND name = ? AND version = ?",
                (key.tenant, key.name, key.version),
            ).fetchone()
        return None if row is None else bytes(row[0])

    def list(self, tenant: str) -> list[StoredTemplate]:
        """A tenant's templates by name, without their versions."""
        with looking(self._where) as database:
            rows = database.execute(
                "SELECT t.name, t.active, t.created_at, t.changed_at, v.definition_json"
                " FROM templates AS t"
                " JOIN template_versions AS v ON v.tenant = t.tenant AND v.name = t.name"
                " AND v.version = t.active"
                " WHERE t.tenant = ? AND t.archived_at IS NULL ORDER BY t.name",
                (tenant,),
            )
            return [
                StoredTemplate(name, active, _at(made), _at(changed), _decode(bytes(definition)))
                for name, active, made, changed, definition in rows
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
    def _add(
        database: Database,
        tenant: str,
        name: str,
        definition: Definition,
        actor: str,
        before: int | None = None,
    ) -> int:
        """`before` is the last version of a template that was removed."""
        [(count, newest)] = database.execute(
            "SELECT count(*), max(version) FROM template_versions WHERE tenant = ? AND name = ?",
            (tenant, name),
        ).fetchall()
        [(octets,)] = database.execute(
            "SELECT sum(length(definition_json)) FROM template_versions WHERE tenant = ?",
            (tenant,),
        ).fetchall()
        source = _encode(definition)
        if count >= MAX_VERSIONS or (octets or 0) + len(source) > MAX_OCTETS:
            raise TooMany
        version: int = (newest or before or 0) + 1
        database.execute(
            "INSERT INTO template_versions"
            " (tenant, name, version, digest, definition_json, created_at, created_by)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (tenant, name, version, _digest(definition), source, time.time(), actor),
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
    definition = _get_version(database, tenant, name, row[0]).definition
    lines = database.execute(
        "SELECT version, created_at, created_by, definition_json FROM template_versions"
        " WHERE tenant = ? AND name = ? ORDER BY version DESC",
        (tenant, name),
    )
    versions = tuple(
        VersionLine(version, tuple(_languages(bytes(source)).languages), _at(made), by)
        for version, made, by, source in lines
    )
    return StoredTemplate(name, row[0], _at(row[1]), _at(row[2]), definition, versions)


def _get_version(database: Database, tenant: str, name: str, version: int) -> Version:
    """Raises UnknownTemplate, UnknownVersion."""
    template = database.execute(
        "SELECT active FROM templates WHERE tenant = ? AND name = ? AND archived_at IS NULL",
        (tenant, name),
    ).fetchone()
    if template is None:
        raise UnknownTemplate
    row = database.execute(
        "SELECT created_at, created_by, definition_json FROM template_versions"
        " WHERE tenant = ? AND name = ? AND version = ?",
        (tenant, name, version),
    ).fetchone()
    if row is None:
        raise UnknownVersion
    made, by, source = row
    return Version(version, version == template[0], _at(made), by, _decode(bytes(source)))


def _note(
    database: Database, actor: str, tenant: str, verb: str, name: str, detail: dict[str, Any]
) -> None:
    audit.note(database, actor, tenant, f"template.{verb}", name, detail)


def _digest(definition: Definition) -> str:
    return hashlib.sha256(_sorted(definition)).hexdigest()


def _at(epoch: float) -> datetime:
    return datetime.fromtimestamp(round(epoch, 3), UTC)
