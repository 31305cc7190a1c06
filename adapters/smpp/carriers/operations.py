"""What an operator does to the carriers while they run, and what of it survives a restart.

The journal's database holds, for each carrier that was touched at run time, what differs from the
configuration file: a whole account that was added, or the keys that were changed. What runs
follows from the two alone, so every process on one database comes to the same carriers, now and
after a restart: the file's accounts with their changes, without those that were removed, then
those that were added.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, Protocol

from pydantic import ValidationError

from adapters.smpp.carriers.carrier import Carrier, CarrierHealth, Order
from adapters.smpp.carriers.config import CarrierConfig
from adapters.smpp.carriers.faults import CarrierInvalid, Fault, faults_of
from adapters.smpp.carriers.mesh import Mesh, UnknownCarrier
from adapters.smpp.store.carrier_store import StoredCarrier

logger = logging.getLogger(__name__)

FOLLOW_EVERY = 1.0
"""Seconds between two looks at what other processes have changed."""
HIDDEN: Final = "**********"
"""Shown in a password's place."""
_REMOVED: Final = "removed"


class Store(Protocol):
    """Where changes are kept; `adapters.smpp.store.carrier_store.CarrierStore` is one."""

    async def carriers(self) -> list[StoredCarrier]:
        """Every carrier that was written, by name."""

    async def put_carrier(self, name: str, config_json: str, state: str) -> None:
        """Add a carrier, or replace the one of that name. Durable on return."""


class CarrierExists(ValueError):
    """There is a carrier of this name already."""


class Origin(str, Enum):
    """Where a carrier's account comes from."""

    FILE = "file"
    CHANGED = "file, changed"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class CarrierView:
    """A carrier as an operator sees it.

    `state` is a CarrierState; or `removed` for a carrier of the file that was removed at run time;
    or `invalid` for one whose account cannot be used here: those two have no `configuration` and
    no `health`. `problem` says why what was stored is not what runs. `changes` are the keys that
    were changed at run time, `configuration` is everything, defaults included; neither holds a
    secret.
    """

    name: str
    state: str
    origin: Origin
    changes: Mapping[str, Any]
    configuration: Mapping[str, Any] | None
    health: CarrierHealth | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Stored:
    """A row of the store, read. With `added_at` (seconds since the epoch) `document` is a whole
    account, else the keys that are not as in the file, null where the default holds."""

    document: Mapping[str, Any]
    added_at: float | None
    state: str

    @classmethod
    def of(cls, row: StoredCarrier) -> _Stored:
        written = json.loads(row.config_json)
        return cls(written["document"], written["added_at"], row.state)

    @property
    def removed(self) -> bool:
        return self.state == _REMOVED

    def to_json(self) -> str:
        # Paths and decimals of the file, when only a part of their table was changed.
        written = {"document": self.document, "added_at": self.added_at}
        return json.dumps(written, default=str)


_AS_IN_FILE = _Stored({}, None, Order.ACTIVE.value)
_TOMBSTONE = _Stored({}, None, _REMOVED)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What should run under a name; nothing without `config`."""

    origin: Origin
    order: Order
    config: CarrierConfig | None
    changes: Mapping[str, Any]
    problem: str | None = None

    @property
    def removed(self) -> bool:
        return self.config is None and self.problem is None


class CarrierOperations:
    """Lists and changes the carriers of a mesh, which nobody else adds to or removes from.

    `configured` are the file's carriers. A change is on disk when it returns. Whatever takes a
    name raises UnknownCarrier, whatever takes settings CarrierInvalid; then nothing has changed.
    """

    def __init__(self, mesh: Mesh, store: Store, configured: Iterable[CarrierConfig]) -> None:
        self._mesh = mesh
        self._store = store
        self._file = {config.name: config for config in configured}
        self._rows: list[StoredCarrier] | None = None
        self._stored: dict[str, _Stored] = {}
        self._wanted: dict[str, _Wanted] = {}
        self._changing = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Learn which carriers there will be, before they dial."""
        self._learn(await self._store.carriers())

    async def start(self) -> None:
        """Add the carriers to the mesh, and follow from now on what other processes change."""
        async with self._changing:
            await self._refresh()
        self._following = asyncio.get_running_loop().create_task(self._follow())

    async def close(self) -> None:
        """Follow no more. The mesh goes on."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    # Looking

    def list(self) -> Sequence[CarrierView]:
        """Every carrier: those that run, in the mesh's order, then the others."""
        running = [carrier.name for carrier in self._mesh.carriers]
        names = dict.fromkeys([*running, *self._wanted])
        return [self.get(name) for name in names if name in self._wanted]

    def get(self, name: str) -> CarrierView:
        """One carrier."""
        wanted = self._wanted.get(name)
        if wanted is None:
            raise UnknownCarrier(name)
        carrier = self._running(name)
        if carrier is None:
            state = _REMOVED if wanted.removed else "invalid"
            return CarrierView(name, state, wanted.origin, {}, None, None, wanted.problem)
        changes = {
            key: HIDDEN if key == "password" else value for key, value in wanted.changes.items()
        }
        return CarrierView(
            name=name,
            state=carrier.state.value,
            origin=wanted.origin,
            changes=changes,
            configuration=carrier.config.model_dump(mode="json"),
            health=carrier.health(),
            problem=wanted.problem,
        )

    def config(self, name: str) -> CarrierConfig | None:
        """The account of this name as it is to be used, None when there is none."""
        wanted = self._wanted.get(name)
        return None if wanted is None else wanted.config

    # Changing

    async def add(self, document: Mapping[str, Any]) -> CarrierView:
        """Add a carrier, which dials at once. Raises CarrierExists."""
        name = _checked(document).name
        async with self._change() as put:
            if name in self._wanted and not self._wanted[name].removed:
                raise CarrierExists(f"there is a carrier {name} already")
            await put(name, _Stored(document, time.time(), Order.ACTIVE.value))
        return self.get(name)

    async def change(self, name: str, patch: Mapping[str, Any]) -> CarrierView:
        """Change some keys by a JSON merge patch (RFC 7386): null is back to the default."""
        if patch.get("name", name) != name:
            fault = Fault(("name",), "frozen", "a carrier keeps its name", "to leave it out")
            raise CarrierInvalid([fault])
        # Without a mention a misspelled key would be set back to a default that it does not have.
        unknown = {key: None for key in patch if key not in CarrierConfig.model_fields}
        async with self._change() as put:
            stored = self._known(name)
            if stored.added_at is not None:
                document = _merged(stored.document, patch)
                _checked({**document, **unknown})
            else:
                file = _document(self._file[name])
                changed = _merged(_laid_over(file, stored.document), patch)
                _checked({**changed, **unknown})
                touched = [key for key in {**stored.document, **patch} if key != "name"]
                document = {
                    key: changed.get(key) for key in touched if changed.get(key) != file.get(key)
                }
            await put(name, replace(stored, document=document))
        return self.get(name)

    async def suspend(self, name: str) -> CarrierView:
        """Give it nothing; its binds stay and bring receipts."""
        return await self._obey(name, Order.SUSPENDED)

    async def drain(self, name: str) -> CarrierView:
        """Give it nothing, let what is in flight be answered, unbind."""
        return await self._obey(name, Order.DRAINED)

    async def resume(self, name: str) -> CarrierView:
        """Give it work again. One of the file that was removed comes back as the file has it."""
        return await self._obey(name, Order.ACTIVE)

    async def remove(self, name: str) -> None:
        """Drain a carrier and forget it, with its changes and its password. One of the file stays
        removed, also after a restart, until `resume` or `add`."""
        async with self._change() as put:
            self._known(name)
            await put(name, _TOMBSTONE)

    async def _obey(self, name: str, order: Order) -> CarrierView:
        async with self._change() as put:
            stored = self._known(name, also_removed=order is Order.ACTIVE)
            await put(name, replace(stored, state=order.value))
        return self.get(name)

    # What is wanted

    @contextlib.asynccontextmanager
    async def _change(self) -> AsyncIterator[_Put]:
        """One change at a time, made to what the database holds now, and carried out after it."""

        async def put(name: str, stored: _Stored) -> None:
            await self._store.put_carrier(name, stored.to_json(), stored.state)

        async with self._changing:
            await self._refresh()
            yield put
            await self._refresh()

    def _learn(self, rows: Iterable[StoredCarrier]) -> None:
        self._stored = {row.name: _Stored.of(row) for row in rows}
        self._wanted = self._plan()

    def _known(self, name: str, *, also_removed: bool = False) -> _Stored:
        if name not in self._wanted or (self._wanted[name].removed and not also_removed):
            raise UnknownCarrier(name)
        return self._stored.get(name, _AS_IN_FILE)

    def _plan(self) -> dict[str, _Wanted]:
        plan = {
            name: self._of_file(config, self._stored.get(name, _AS_IN_FILE))
            for name, config in self._file.items()
            if self._stored.get(name, _AS_IN_FILE).added_at is None
        }
        added = [
            (stored.added_at, name, stored)
            for name, stored in self._stored.items()
            if stored.added_at is not None and not stored.removed
        ]
        for _, name, stored in sorted(added, key=lambda each: each[:2]):
            plan[name] = self._of_store(stored)
        return plan

    def _of_file(self, config: CarrierConfig, stored: _Stored) -> _Wanted:
        origin = Origin.CHANGED if stored.document else Origin.FILE
        if stored.removed:
            return _Wanted(Origin.FILE, Order.ACTIVE, None, {})
        order = Order(stored.state)
        if not stored.document:
            return _Wanted(origin, order, config, {})
        try:
            changed = _checked(_laid_over(_document(config), stored.document))
        except CarrierInvalid as error:
            return _Wanted(origin, order, config, stored.document, _not_applied(error))
        return _Wanted(origin, order, changed, stored.document)

    def _of_store(self, stored: _Stored) -> _Wanted:
        order = Order(stored.state)
        try:
            config = _checked(stored.document)
        except CarrierInvalid as error:
            return _Wanted(Origin.ADDED, order, None, {}, _not_applied(error))
        return _Wanted(Origin.ADDED, order, config, {})

    # Making it so

    async def _follow(self) -> None:
        following = True
        while True:
            await asyncio.sleep(FOLLOW_EVERY)
            try:
                async with self._changing:
                    await self._refresh()
            except Exception:
                # The database may be away for a while, and whatever it is: the carriers go on.
                if following:
                    logger.exception("cannot follow the changes to the carriers for now")
                following = False
            else:
                following = True

    async def _refresh(self) -> None:
        rows = await self._store.carriers()
        if rows == self._rows:
            return
        self._learn(rows)
        for carrier in self._mesh.carriers:
            if carrier.name not in self._wanted or self._wanted[carrier.name].removed:
                logger.info("carrier %s is removed", carrier.name)
                await self._mesh.remove(carrier.name)
        for name, wanted in self._wanted.items():
            await self._make(name, wanted)
        self._rows = rows

    async def _make(self, name: str, wanted: _Wanted) -> None:
        if wanted.problem is not None:
            logger.error("carrier %s: %s", name, wanted.problem)
        carrier = self._running(name)
        if carrier is None:
            if wanted.config is not None:
                logger.info("carrier %s is added, %s", name, wanted.order.value)
                self._mesh.add(wanted.config, wanted.order)
            return
        if wanted.problem is None and wanted.config is not None and wanted.config != carrier.config:
            logger.info("carrier %s is changed", name)
            carrier.configure(wanted.config)
        if wanted.order is not carrier.order:
            logger.info("carrier %s is to be %s", name, wanted.order.value)
            obey = {
                Order.ACTIVE: carrier.resume,
                Order.SUSPENDED: carrier.suspend,
                Order.DRAINED: carrier.drain,
            }
            await obey[wanted.order]()

    def _running(self, name: str) -> Carrier | None:
        try:
            return self._mesh.get(name)
        except UnknownCarrier:
            return None


class _Put(Protocol):
    async def __call__(self, name: str, stored: _Stored) -> None: ...


def _checked(document: Mapping[str, Any]) -> CarrierConfig:
    try:
        return CarrierConfig.model_validate(document)
    except ValidationError as error:
        faults = faults_of(error.errors(include_url=False, include_input=False))
        raise CarrierInvalid(faults) from None


def _document(config: CarrierConfig) -> dict[str, Any]:
    """What was set, as it was read: a password is not resolved a second time."""
    return config.model_dump(exclude_unset=True)


def _laid_over(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A document with some keys replaced, and those that are null left to their defaults."""
    return {key: value for key, value in {**document, **changes}.items() if value is not None}


def _merged(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7386, section 2."""
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            below = merged.get(key)
            merged[key] = _merged(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def _not_applied(error: CarrierInvalid) -> str:
    return f"what was stored at run time cannot be used here: {error}"
