"""Runs the tenants' adapters: an attempt becomes a call, a call becomes an answer that is true."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote
from weakref import WeakValueDictionary

import msgspec

from adapters.wasm import reference
from adapters.wasm.contract import (
    Answer,
    GuestContent,
    HealthResult,
    HttpPort,
    Message,
    Reported,
    SendResult,
    Template,
    Webhook,
)
from adapters.wasm.installed import Health, Installed, Registry, ValueStore
from adapters.wasm.runtime.artifacts import Artifacts
from adapters.wasm.runtime.drive import Ask, Exchange, drive
from adapters.wasm.runtime.engine import Engine
from adapters.wasm.runtime.faults import AdapterFailed
from adapters.wasm.runtime.guests import Guests
from adapters.wasm.runtime.imports import Call, GuestSink, link
from adapters.wasm.runtime.instance import Instance
from adapters.wasm.runtime.room import BUDGET_MB, OWN_MB, Room
from adapters.wasm.runtime.timely import Timely, TooLate
from adapters.wasm.runtime.turns import Turns
from adapters.wasm.verdict import (
    MAX_DETAIL,
    broken,
    busy,
    failed,
    failure_of,
    hold_to_truth,
    refusal,
    submission,
)
from domain.delivery import DeliveryRequest, Submission
from domain.failures import Failure, FailureCode

log = logging.getLogger(__name__)

Done = TypeVar("Done")

PROVIDERS: Final = Path(__file__).parent / "providers"
"""Hermes's own adapters, each in a directory."""

SICK_AFTER: Final = 3
"""Checks in a row that fail before an adapter is sick."""

_THREADS: Final = 8
_MAX_GUESTS: Final = 512
_SWEEP: Final = 10.0
_LONG: Final = 32_768
"""Octets of a payload that the event loop should not wait for: a webhook of 1,000 events holds it
for 30 ms, one of 2 MB for 100 ms."""
_ROOM_WITHIN: Final = 30.0
"""Seconds that a report or a check waits for its tenant's calls under way."""

_MESSAGE: Final = msgspec.json.Encoder()
_SEND: Final = msgspec.json.Decoder(Answer[SendResult])
_REPORTED: Final = msgspec.json.Decoder(Answer[Reported])
_HEALTH: Final = msgspec.json.Decoder(Answer[HealthResult])


UnsubscribeLink = Callable[[DeliveryRequest, str], str | None]
"""Of a request and its channel."""


class Ports(Protocol):
    """The way out: one port for each call."""

    def port(self, installed: Installed) -> HttpPort:
        """Makes the requests of one guest call, by the installation's rules."""

    def placeholder(self, installed: Installed, name: str) -> str:
        """What the guest is given in the place of a secret."""


class _NoRoom(Exception):
    """The tenant's calls under way hold as much memory as they may."""


class AdapterHost:
    """One for a process, on one event loop.

    Hermes's own adapters, those built in `own`, run on the loop: a tenth of a millisecond each,
    unless they are given much to read. A tenant's run in threads, one at a time for each tenant:
    whatever it does, it is its own time. The calls of a tenant that are under way share a budget
    of memory (`runtime/room.py`).
    `sink` takes what guests say, `strangers` what those say that are not Hermes's own.
    `public_url` is where providers reach us, without a path; `artifacts` a directory of our own.
    `unsubscribe` gives the link by which a recipient ends what he is sent, where it needs one.
    """

    def __init__(
        self,
        registry: Registry,
        egress: Ports,
        sink: GuestSink,
        *,
        public_url: str,
        reference_key: bytes,
        artifacts: Path,
        values: ValueStore,
        own: Path = PROVIDERS,
        strangers: GuestSink | None = None,
        unsubscribe: UnsubscribeLink = lambda request, channel: None,
    ) -> None:
        self._registry = registry
        self._egress = egress
        self._sink = sink
        self._strangers = strangers or sink
        self._public_url = public_url.rstrip("/")
        self._key = reference_key
        self._values = values
        self._unsubscribe = unsubscribe
        self._engine = Engine()
        self._linker = link(self._engine)
        self._artifacts = Artifacts(artifacts, self._engine)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="adapter")
        self._turns = Turns()
        self._room = Room()
        self._tenants: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._loaders: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._guests: OrderedDict[tuple[str, str, str, int], Guests] = OrderedDict()
        self._loading: dict[tuple[str, str, str, int], asyncio.Task[Guests]] = {}
        self._failures: dict[tuple[str, str, str], int] = {}
        self._swept_at = time.monotonic()
        self._own = frozenset(_digests(own))

    async def deliver(self, request: DeliveryRequest, adapter: str) -> Submission:
        """Let the tenant's active version hand over one attempt.

        Raises nothing but cancellation. What the guest says is not believed where the requests
        that it made say otherwise. None of them begins after the request's `not_after`. BUSY when
        the tenant has no room for another call.
        """
        begun_at = datetime.now(UTC)
        installed = self._registry.active(request.tenant, adapter)
        refused = refusal(request, adapter, installed, begun_at)
        if refused is not None or installed is None:
            return failed(adapter, begun_at, refused or Failure(FailureCode.INTERNAL))
        exchanges: list[Exchange] = []
        if not self._turns.at_once():
            await self._turns.take()
        try:
            message = _MESSAGE.encode(self._message(request, installed))
            timely = Timely(self._egress.port(installed), request.not_after, begun_at)
            result = await self._run(installed, "on-message", message, _SEND, exchanges, timely)
            hold_to_truth(result, exchanges)
        except TooLate:
            return failed(adapter, begun_at, Failure(FailureCode.TOO_LATE))
        except _NoRoom as error:
            return busy(adapter, begun_at, str(error))
        except AdapterFailed as error:
            log.warning(
                "adapter %s of %s failed: %s",
                adapter,
                request.tenant,
                error.kind,
                extra={"tenant": request.tenant, "adapter": adapter, "kind": error.kind},
            )
            return broken(adapter, begun_at, failure_of(error), exchanges)
        except Exception:
            log.exception("adapter %s of %s: the host failed", adapter, request.tenant)
            return broken(adapter, begun_at, Failure(FailureCode.INTERNAL), exchanges)
        return submission(adapter, begun_at, result, exchanges)

    async def report(self, tenant: str, adapter: str, webhook: Webhook) -> Reported:
        """What a webhook's body says, its signature checked already.

        Read by the version that made the attempt, where the webhook names one in `ref` and it is
        kept; otherwise by the active one. Raises AdapterFailed, "deadline" when the tenant's other
        calls left no room for it.
        """
        installed = await self._version(tenant, adapter, webhook.query.get("ref"))
        if installed is None:
            raise AdapterFailed("configure", f"{tenant} has no active adapter {adapter}")
        payload = _MESSAGE.encode(webhook)
        try:
            return await self._run(installed, "on-delivery-report", payload, _REPORTED, [])
        except _NoRoom as error:
            raise AdapterFailed("deadline", str(error)) from None

    async def check(self, installed: Installed) -> Health | None:
        """Ask an adapter how it is; None when its tenant's other calls left no room to ask.

        Raises nothing but cancellation.
        """
        exchanges: list[Exchange] = []
        detail: str | None
        try:
            result = await self._run(installed, "on-health-check", None, _HEALTH, exchanges)
            ok, detail = result.ok, result.detail
        except _NoRoom:
            # It says nothing of the adapter: nothing was asked.
            return None
        except AdapterFailed as error:
            ok, detail = False, str(error)
        except Exception:
            log.exception("adapter %s of %s: check", installed.adapter, installed.tenant)
            ok, detail = False, "the host failed"
        key = (installed.tenant, installed.adapter, installed.version)
        failures = self._failures[key] = 0 if ok else self._failures.get(key, 0) + 1
        return Health(
            datetime.now(UTC),
            ok=ok,
            sick=failures >= SICK_AFTER,
            failures=failures,
            detail=detail[:MAX_DETAIL] if detail else None,
        )

    async def configure(self, installed: Installed) -> None:
        """Try a configuration: a new instance and its on-configure. Raises AdapterFailed."""
        guests = await self._load(installed)
        instance = await self._fresh(guests, guests.call())
        instance.close()

    def adopt(self, digest: str, native: Path) -> None:
        """Keep what a component was compiled to by `upload.check`. Blocks. Raises OSError."""
        self._artifacts.adopt(digest, native)

    def sweep(self, needed: Container[str]) -> int:
        """Delete what was compiled of components that are not `needed`, by their digests; how many
        files. Blocks."""
        return self._artifacts.sweep(needed)

    async def close(self) -> None:
        """Free everything. Calls under way should have ended."""
        for task in self._loading.values():
            task.cancel()
        for guests in self._guests.values():
            guests.close()
        self._guests.clear()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._engine.close()

    # --- one call ---------------------------------------------------------------------------

    async def _run(
        self,
        installed: Installed,
        export: str,
        payload: bytes | None,
        decoder: msgspec.json.Decoder[Answer[Done]],
        exchanges: list[Exchange],
        timely: Timely | None = None,
    ) -> Done:
        """One whole call; a delivery, which is `timely`, does not wait for room."""
        guests = await self._of(installed)
        tenant = installed.tenant
        megabytes = OWN_MB if guests.on_loop else installed.manifest.limits.memory_mb
        if timely is None:
            await self._wait_for_room(tenant, megabytes)
        elif not self._room.take(tenant, megabytes):
            raise _NoRoom(f"{self._room.used(tenant):,} MB are in use by calls under way")
        try:
            self._free_idle(guests)
            return await self._call(guests, export, payload, decoder, exchanges, timely)
        finally:
            self._room.give_back(tenant, megabytes)

    async def _call(
        self,
        guests: Guests,
        export: str,
        payload: bytes | None,
        decoder: msgspec.json.Decoder[Answer[Done]],
        exchanges: list[Exchange],
        timely: Timely | None,
    ) -> Done:
        installed = guests.installed
        if guests.uses_store:
            guests.values = await self._values.load(installed.tenant, installed.adapter)
        call = guests.call()
        instance = guests.warm() or await self._fresh(guests, call)
        port = timely or self._egress.port(installed)
        ask = self._asking(guests, timely)
        try:
            done = await drive(instance, call, export, payload, decoder, port, exchanges, ask)
        except AdapterFailed:
            guests.give_back(instance)
            raise
        except TooLate:
            # Within a call of a guest's there is no beginning another one.
            instance.broken = instance.broken or bool(exchanges)
            guests.give_back(instance)
            raise
        # On cancellation it may be running still: it is left to whoever holds it last.
        guests.give_back(instance)
        if call.fault is not None:
            log.error("adapter %s: a host call failed", installed.adapter, exc_info=call.fault)
        guests.uses_store = guests.uses_store or call.touched
        if call.changes:
            await self._save(guests, call)
        return done

    async def _wait_for_room(self, tenant: str, megabytes: int) -> None:
        try:
            await self._room.wait(tenant, megabytes, _ROOM_WITHIN)
        except TimeoutError:
            raise _NoRoom(f"other calls left no room within {_ROOM_WITHIN:.0f} s") from None

    def _free_idle(self, wanted: Guests) -> None:
        """Free what a tenant's other guests keep warm, as far as a new one has no room beside it.

        Otherwise one with many adapters would have the budget once for each of them.
        """
        if wanted.on_loop or wanted.idle:
            return
        tenant = wanted.installed.tenant
        others = [
            each
            for each in self._guests.values()
            if each.installed.tenant == tenant and not each.on_loop
        ]
        over = self._room.used(tenant) + sum(each.idle_mb for each in others) - BUDGET_MB
        for each in others:
            while over > 0 and each.idle:
                over -= each.installed.manifest.limits.memory_mb
                each.free_one()

    # --- where guests run -------------------------------------------------------------------

    async def _fresh(self, guests: Guests, call: Call) -> Instance:
        if not guests.on_loop:
            return await self._in_thread(guests.installed.tenant, guests.fresh, call)
        await self._turns.take()
        return guests.fresh(call)

    def _asking(self, guests: Guests, timely: Timely | None) -> Ask:
        turns, on_loop, tenant = self._turns, guests.on_loop, guests.installed.tenant

        async def ask(
            instance: Instance,
            call: Call,
            export: str,
            payload: bytes | None,
            decoder: msgspec.json.Decoder[Any],
        ) -> Answer[Any]:
            if not on_loop or (payload is not None and len(payload) > _LONG):
                entry = instance.ask if timely is None else timely.within(instance.ask)
                return await self._in_thread(tenant, entry, call, export, payload, decoder)
            if not turns.at_once():
                await turns.take()
            if timely is not None:
                timely.check()
            return instance.ask(call, export, payload, decoder)

        return ask

    async def _in_thread(
        self, tenant: str, function: Callable[..., Done], *arguments: object
    ) -> Done:
        turn = _lock_of(self._tenants, tenant)
        await turn.acquire()
        try:
            running = asyncio.get_running_loop().run_in_executor(
                self._threads, function, *arguments
            )
        except BaseException:
            turn.release()
            raise
        # Whoever waits may be cancelled; the guest goes on, and it is its tenant's turn still.
        running.add_done_callback(lambda _: turn.release())
        return await asyncio.shield(running)

    async def _save(self, guests: Guests, call: Call) -> None:
        installed = guests.installed
        try:
            await self._values.save(installed.tenant, installed.adapter, dict(call.changes))
        except Exception:
            # The message is with the provider whether or not the adapter can note it.
            log.exception("adapter %s of %s: store", installed.adapter, installed.tenant)

    # --- versions ---------------------------------------------------------------------------

    async def _version(self, tenant: str, adapter: str, ref: str | None) -> Installed | None:
        active = self._registry.active(tenant, adapter)
        named = None if ref is None else reference.read(self._key, tenant, adapter, ref)
        if named is None or (active is not None and active.version.startswith(named.version)):
            return active
        return await self._registry.pinned(tenant, adapter, named.version) or active

    async def _of(self, installed: Installed) -> Guests:
        key = _key(installed)
        guests = self._guests.get(key)
        if guests is None:
            # Whoever waits may be cancelled: the others go on waiting for the same one.
            loading = self._loading.get(key)
            if loading is None:
                loading = self._loading[key] = asyncio.create_task(self._load(installed))
                loading.add_done_callback(lambda task: self._loaded(key, task))
            guests = await asyncio.shield(loading)
        if key in self._guests:
            self._guests.move_to_end(key)
        self._sweep()
        return guests

    def _loaded(self, key: tuple[str, str, str, int], task: asyncio.Task[Guests]) -> None:
        self._loading.pop(key, None)
        if task.cancelled() or task.exception() is not None:
            return
        # Those of the version before end their calls and are not warm any more.
        active = self._registry.active(*key[:2])
        if active is not None and _key(active) == key:
            for other in [each for each in self._guests if each[:2] == key[:2]]:
                self._guests.pop(other).close()
        self._guests[key] = task.result()
        if len(self._guests) > _MAX_GUESTS:
            self._guests.popitem(last=False)[1].close()

    async def _load(self, installed: Installed) -> Guests:
        try:
            # One at a time for each tenant: all of them share the threads.
            async with _lock_of(self._loaders, installed.tenant):
                program = await asyncio.to_thread(self._artifacts.load, installed.component)
        except OSError as error:
            raise AdapterFailed("component", f"it cannot be read: {error.strerror}") from None
        values = await self._values.load(installed.tenant, installed.adapter)
        own = program.digest in self._own
        return Guests(
            installed,
            program,
            self._linker,
            self._sink if own else self._strangers,
            values,
            placeholders={
                name: self._egress.placeholder(installed, name) for name in installed.secrets
            },
            on_loop=own,
        )

    def _sweep(self) -> None:
        now = time.monotonic()
        if now - self._swept_at > _SWEEP:
            self._swept_at = now
            for guests in self._guests.values():
                guests.trim(now)

    # --- payloads ---------------------------------------------------------------------------

    def _message(self, request: DeliveryRequest, installed: Installed) -> Message:
        ref = reference.mint(
            self._key,
            request.tenant,
            installed.adapter,
            request.message,
            request.attempt,
            installed.version,
        )
        content, template = request.content, request.content.template
        channel = request.channel or installed.manifest.channels[0]
        return Message(
            id=request.message,
            attempt=request.attempt,
            channel=channel,
            to=request.to,
            sender=request.sender,
            content=GuestContent(
                content.text,
                content.subject,
                content.html,
                None
                if template is None
                else Template(template.name, template.language, template.parameters),
                content.data,
            ),
            category=request.category,
            reference=ref,
            callback_url=(
                f"{self._public_url}{_webhook_path(request.tenant, installed.adapter)}?ref={ref}"
            ),
            not_after=request.not_after,
            unsubscribe_url=self._unsubscribe(request, channel),
        )


def _key(installed: Installed) -> tuple[str, str, str, int]:
    return (installed.tenant, installed.adapter, installed.version, installed.revision)


@lru_cache(maxsize=1_024)
def _webhook_path(tenant: str, adapter: str) -> str:
    return f"/v1/webhooks/{quote(tenant, safe='')}/{adapter}"


def _lock_of(locks: WeakValueDictionary[str, asyncio.Lock], tenant: str) -> asyncio.Lock:
    lock = locks.get(tenant)
    if lock is None:
        lock = locks[tenant] = asyncio.Lock()
    return lock


def _digests(providers: Path) -> Sequence[str]:
    """Of the components that Hermes brings: known by their content, wherever they are kept."""
    built = providers.glob("*/dist/adapter.wasm")
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in built]
