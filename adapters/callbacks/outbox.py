"""From what happens to a message to the events that its tenant's endpoints are told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from adapters.callbacks.endpoints import Directory
from adapters.callbacks.events import row_for
from adapters.store.database import Statement
from domain.callback import (
    PROGRESS,
    Told,
    end_of,
    late_receipt_of,
    progress_of,
)
from domain.message import MessageOrder
from domain.timeline import Entry, Record, Status

_encode = msgspec.json.Encoder().encode


class HasDirectory(Protocol):
    """The section of the endpoints."""

    @property
    def value(self) -> Directory:
        """The endpoints at the moment."""

    def refresh(self) -> None:
        """Read them again; blocks."""


class Outbox:
    """Makes the rows; the message log writes them in the commit of what they tell of.

    A message whose tenant has no endpoint, and that has no `status_callback`, costs a look into a
    dictionary. `wake` is called with the id of an endpoint that something waits for.
    """

    def __init__(self, endpoints: HasDirectory, wake: Callable[[str], None]) -> None:
        self._endpoints = endpoints
        self._wake = wake

    def ended(self, message: str, order: MessageOrder, record: Record) -> list[Statement]:
        """What to store when a message ends: the end, and before it what was not told yet."""
        found = self._endpoints.value.of(order.tenant)
        if not found and order.status_callback is None:
            return []
        rows = self.progress(message, order, enumerate(record.timeline)) if order.tell else []
        told = end_of(message, order, record)
        rows += self._rows(message, order, told)
        if order.status_callback is not None:
            rows.append(_row(None, message, order, told, order.status_callback))
        return rows

    def progress(
        self, message: str, order: MessageOrder, entries: Iterable[tuple[int, Entry]]
    ) -> list[Statement]:
        """What to store about lines of the timeline with their places, before the end."""
        rows: list[Statement] = []
        for place, entry in entries:
            kind = PROGRESS.get(entry.event)
            if kind is not None and kind.value in order.tell:
                rows += self._rows(message, order, progress_of(message, order, place, entry))
        return rows

    def late(
        self, message: str, order: MessageOrder, status: Status, entry: Entry
    ) -> list[Statement]:
        """What to store about a receipt after the end."""
        if not self._endpoints.value.of(order.tenant):
            return []
        return self._rows(message, order, late_receipt_of(message, order, status, entry))

    def stored(self, statements: Sequence[Statement]) -> None:
        """They are durable: let the endpoints know."""
        for endpoint in {parameters[0] for _, parameters in statements}:
            self._wake(endpoint)

    def _rows(self, message: str, order: MessageOrder, told: Told) -> list[Statement]:
        return [
            _row(endpoint.id, message, order, told, None)
            for endpoint in self._endpoints.value.of(order.tenant)
            if told.type in endpoint.events
        ]


def _row(
    endpoint: str | None, message: str, order: MessageOrder, told: Told, url: str | None
) -> tuple[str, Sequence[Any]]:
    return row_for(
        endpoint,
        event=told.id,
        tenant=order.tenant,
        message=message,
        type_=told.event.type,
        url=url,
        body=_encode(told.event),
        now=time.time(),
    )
