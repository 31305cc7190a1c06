"""What clients send about suppression lists, and what they get."""

from __future__ import annotations

from typing import Annotated

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from adapters.suppression.importing import Fault
from adapters.suppression.jobs import ImportJob, ImportStatus
from adapters.suppression.store import Entry
from domain.message import Category
from domain.suppression import RULES, Reason
from handlers.api.answers import Instant

_Address = Annotated[str, Field(min_length=1, max_length=512)]
_Channel = Annotated[str, Field(min_length=1, max_length=32)]
_CATEGORIES = (
    "The categories that are blocked, besides those that are already; left out, all of them."
)
_REASONS = " ".join(f"`{reason.value}`: {rule.meaning}." for reason, rule in RULES.items())


class _Body(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class SuppressionBody(_Body):
    """An address to leave alone."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"channel": "sms", "address": "+4520123456"}]}
    )

    channel: _Channel = Field(description="The channel of the address; the others stay free.")
    address: _Address = Field(
        description="As in a message's `to`. It is kept as a keyed hash only, and shown masked."
    )
    categories: Annotated[list[Category], Field(min_length=1, max_length=3)] | None = Field(
        None, description=_CATEGORIES
    )


class SuppressionLookupBody(_Body):
    """An address to look up. In the body, since addresses have no place in an access log."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"channel": "email", "address": "anna@example.com"}]}
    )

    channel: _Channel
    address: _Address


class SuppressionView(msgspec.Struct, frozen=True):
    """An address on your list, for one reason. `id` is the same for all reasons of an address;
    `source` says where it came from: an import, a message, the number that the person wrote to."""

    id: str
    channel: str
    address: str
    reason: Reason
    categories: list[Category]
    imported: bool
    source: str | None
    created_at: Instant


class SuppressionPage(msgspec.Struct, frozen=True):
    """A page of your list, newest first. `next_cursor` is null on the last page."""

    data: list[SuppressionView]
    next_cursor: str | None


class SuppressionLookup(msgspec.Struct, frozen=True):
    """What is held against an address: `blocked` are the categories that it gets nothing of, by
    your `entries` or, with `by_operator`, by the list of whoever runs Hermes."""

    id: str
    channel: str
    address: str
    blocked: list[Category]
    by_operator: bool
    entries: list[SuppressionView]


class RemovedSuppression(msgspec.Struct, frozen=True):
    """An address was taken off your list, where it stood for `reasons`."""

    id: str
    reasons: list[Reason]


class ImportView(msgspec.Struct, frozen=True):
    """An import. `lines` had an address, of which `added` were new or changed; `refused` had none
    that could be read, and the first hundred of them are in `faults`. When it is `done`, it is in
    use."""

    id: str
    status: ImportStatus
    channel: str
    categories: list[Category]
    lines: int
    added: int
    refused: int
    faults: list[Fault]
    created_at: Instant
    ended_at: Instant | None


def suppression_view(entry: Entry) -> SuppressionView:
    """An entry as clients see it."""
    return SuppressionView(
        entry.id,
        entry.channel,
        entry.masked,
        entry.reason,
        in_order(entry.categories),
        entry.imported,
        entry.source or None,
        entry.created_at,
    )


def import_view(job: ImportJob) -> ImportView:
    """An import as clients see it."""
    return ImportView(
        job.id,
        job.status,
        job.channel,
        in_order(job.categories),
        job.imported.lines,
        job.imported.added,
        job.imported.refused,
        job.imported.faults,
        job.created_at,
        job.ended_at,
    )


def in_order(categories: frozenset[Category]) -> list[Category]:
    """Categories in the order in which they are documented."""
    return [category for category in Category if category in categories]
