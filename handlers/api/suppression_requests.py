"""What both APIs do about suppression lists: the tenants' with their own, the operator's with that
of all."""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec
from starlette.requests import ClientDisconnect, Request

from adapters.store.sections import Section
from adapters.suppression.hashing import key_of
from adapters.suppression.index import Lists
from adapters.suppression.jobs import KEEP_EVERY, Busy, ImportJob, ImportJobs
from adapters.suppression.links import UnsubscribeLinks
from adapters.suppression.store import Entry, Position, SuppressionStore
from domain.channels import CHANNELS
from domain.channels.rules import AddressProblem
from domain.message import Category
from domain.suppression import EVERYBODY, RULES, Reason, canonical, masked, unpacked
from handlers.api.problems import FieldError, Problem, validation_failed
from handlers.api.suppression_shapes import (
    RemovedSuppression,
    SuppressionLookup,
    SuppressionPage,
    in_order,
    suppression_view,
)

CSV: Final = "text/csv"
LARGEST_FILE: Final = 512 * 1024 * 1024
"""Octets: 10 million phone numbers have 120 MB, as many e-mail addresses 250."""
_SILENCE: Final = 20.0
"""Seconds without a piece of a file, after which its sender is gone. Less than what makes an import
silent: nobody else gets the tenant's place while this one may still be coming."""
MOST: Final = 500
DEFAULT_LIMIT: Final = 50


class _Place(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Where a page ended."""

    created_at: float
    key: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class SuppressionDesk:
    """Does what is asked. `lists` are those of this process, which see its own changes at once;
    `links` are those in marketing mails."""

    store: SuppressionStore
    jobs: ImportJobs
    lists: Section[Lists]
    links: UnsubscribeLinks

    async def page(self, owner: str, limit: int, cursor: str | None) -> SuppressionPage:
        """A page of a list. Raises Problem `invalid_cursor`."""
        before = None if cursor is None else _position(cursor)
        # One more than asked for tells whether there is another page.
        found = await asyncio.to_thread(self.store.page, owner, limit + 1, before)
        page = found[:limit]
        return SuppressionPage(
            [suppression_view(entry) for entry in page],
            _cursor(page[-1]) if len(found) > limit else None,
        )

    async def add(
        self, owner: str, channel: str, address: str, categories: Iterable[Category] | None, by: str
    ) -> tuple[Entry, bool]:
        """Put an address on a list; the entry, and whether it is new or blocks more than before."""
        entry = self._entry(owner, channel, address, categories)
        [new] = await asyncio.to_thread(self.store.put, owner, [entry], actor=by)
        await asyncio.to_thread(self.lists.refresh)
        held = await asyncio.to_thread(self.store.held, owner, entry.key)
        return next((each for each in held if each.reason is entry.reason), entry), new

    async def lookup(self, owner: str, channel: str, address: str) -> SuppressionLookup:
        """What is held against an address on a list, and on the operator's."""
        entry = self._entry(owner, channel, address, None)
        held = await asyncio.to_thread(self.store.held, owner, entry.key)
        plain = canonical(channel, address)
        everybody = self.store.hasher.key(EVERYBODY, channel, plain)
        by_operator = [unpacked(octet) for octet in self.lists.value.find(everybody)]
        blocked = frozenset[Category]().union(
            *(each.categories for each in held), *(each.categories for each in by_operator)
        )
        return SuppressionLookup(
            entry.id,
            channel,
            masked(channel, plain),
            in_order(blocked),
            bool(by_operator) and owner != EVERYBODY,
            [suppression_view(each) for each in held],
        )

    async def remove(self, owner: str, entry: str, by: str) -> RemovedSuppression:
        """Take an address off a list. Raises Problem `suppression_not_found`."""
        key = key_of(entry)
        lifted = (
            [] if key is None else await asyncio.to_thread(self.store.lift, owner, key, actor=by)
        )
        if not lifted:
            raise Problem("suppression_not_found")
        await asyncio.to_thread(self.lists.refresh)
        return RemovedSuppression(entry, lifted)

    async def begin_import(
        self,
        request: Request,
        owner: str,
        channel: str,
        categories: Iterable[Category] | None,
        by: str,
    ) -> ImportJob:
        """Store a CSV file and begin its import. Raises Problem."""
        _check_channel(channel, "channel")
        _check_media_type(request)
        wanted = RULES[Reason.MANUAL].categories if categories is None else frozenset(categories)
        job = self.jobs.new_id()
        try:
            # Before the file is read: a tenant has one at a time on our disk.
            await asyncio.to_thread(self.jobs.reserve, job, owner, channel, wanted, by)
        except Busy:
            raise Problem("import_busy", headers={"Retry-After": "30"}) from None
        try:
            await self._receive(request, job)
            return await asyncio.to_thread(self.jobs.start, job)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(self.jobs.give_up, job))
            raise

    async def _receive(self, request: Request, job: str) -> None:
        """A request's body into the import's file, which is not kept in memory. Raises Problem."""
        size = 0
        kept_at = time.monotonic()
        loop = asyncio.get_running_loop()
        path = self.jobs.coming(job)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            while True:
                try:
                    async with asyncio.timeout(_SILENCE):
                        message = await request.receive()
                except TimeoutError:
                    raise ClientDisconnect from None
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > LARGEST_FILE:
                    raise Problem("body_too_large", f"The body may have {LARGEST_FILE:,} bytes.")
                await loop.run_in_executor(None, file.write, chunk)
                if not message.get("more_body", False):
                    break
                if time.monotonic() - kept_at >= KEEP_EVERY:
                    kept_at = time.monotonic()
                    await asyncio.to_thread(self.jobs.keep, job)
        if size == 0:
            raise Problem("body_required")

    async def get_import(self, owner: str, job: str) -> ImportJob:
        """An import. Raises Problem `import_not_found`."""
        found = await asyncio.to_thread(self.jobs.get, owner, job)
        if found is None:
            raise Problem("import_not_found")
        return found

    def _entry(
        self, owner: str, channel: str, address: str, categories: Iterable[Category] | None
    ) -> Entry:
        _check_channel(channel)
        try:
            return self.store.entry(owner, channel, address, Reason.MANUAL, categories)
        except AddressProblem as problem:
            fault = FieldError(problem.code, problem.detail, "/address")
            raise validation_failed([fault]) from None


def _check_channel(channel: str, parameter: str | None = None) -> None:
    if channel not in CHANNELS:
        detail = f"Channels: {', '.join(CHANNELS)}."
        pointer = "/channel" if parameter is None else None
        raise validation_failed([FieldError("unknown_channel", detail, pointer, parameter)])


def _check_media_type(request: Request) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != CSV or request.headers.get("content-encoding", "identity") != "identity":
        detail = f"Send `Content-Type: {CSV}` without a content encoding."
        raise Problem("unsupported_media_type", detail)


def _cursor(entry: Entry) -> str:
    place = _Place(entry.created_at.timestamp(), entry.key, entry.reason)
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def _position(cursor: str) -> Position:
    try:
        raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        place = msgspec.json.decode(raw, type=_Place)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise Problem("invalid_cursor") from None
    if not 0 <= place.key < 1 << 64:
        raise Problem("invalid_cursor")
    return Position(place.created_at, place.key, place.reason)
