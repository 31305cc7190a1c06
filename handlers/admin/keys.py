"""/admin/v1/keys: the tenants' API keys: list, create, change, replace, revoke."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from adapters.store.keys import (
    LONGEST_NOTE,
    ApiKey,
    KeyEnded,
    UnknownKey,
    change_key,
    create_key,
    get_key,
    key_id_of,
    list_keys,
    named,
    revoke_key,
    rotate_key,
)
from adapters.store.tenants import UnknownTenant
from domain.tenancy import EVERYTHING, Mode, Scope
from handlers.admin.operation import Operation, answer
from handlers.admin.problems import PREFIX, OperatorProblem
from handlers.admin.requests import actor, body_of, query_of
from handlers.admin.tenants import Limit, TenantId, known_tenant_id
from handlers.api.problems import FieldError, Problem, validation_failed

DEFAULT_GRACE: Final = 86_400.0
LONGEST_GRACE: Final = 90 * 86_400.0
LONGEST_LIFE: Final = timedelta(days=3650)
_KEY_ID: Final = re.compile("[0-9a-f]{1,32}")

Note = Annotated[str, msgspec.Meta(max_length=LONGEST_NOTE)]
Scopes = Annotated[
    list[Scope],
    msgspec.Meta(min_length=1, description="What the key may do, which is something."),
]
Expiry = Annotated[
    datetime, msgspec.Meta(tz=True, description="In the future, at most ten years ahead.")
]


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to be made. Without `scopes` it may do everything; without `expires_at` it is good
    until it is revoked."""

    tenant: TenantId
    note: Note = ""
    mode: Mode = Mode.LIVE
    scopes: Scopes | None = None
    expires_at: Expiry | None = None


class KeyChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be changed of a key; what is left out stays."""

    note: Note | None = None
    scopes: Scopes | None = None
    expires_at: Expiry | None = None


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long, in seconds, the old key stays good."""

    grace: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_GRACE)] = DEFAULT_GRACE


class KeyView(msgspec.Struct, frozen=True):
    """A key without its secret. `last_used_at` is exact to a minute or two."""

    id: str
    tenant: str
    note: str
    mode: Mode
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None


class MadeKey(msgspec.Struct, frozen=True):
    """A key as it was made: `key` is shown this once. After a rotation, `replaced` is the old
    one."""

    key: str
    made: KeyView
    replaced: KeyView | None = None


class KeyPage(msgspec.Struct, frozen=True):
    """Keys, oldest first. `next_cursor` leads to the next page, null when this is the last."""

    keys: list[KeyView]
    next_cursor: str | None


class _Query(msgspec.Struct, frozen=True):
    tenant: TenantId | None = None
    limit: Limit = 100
    cursor: str | None = None


def keys(where: Path | str) -> list[Operation]:
    """The operations on this resource, in the database `where`."""

    async def list_all_keys(request: Request) -> Response:
        """The keys of all tenants or of one, without their secrets, a page at a time."""
        query = query_of(request, _Query)
        after = None if query.cursor is None else _position(query.cursor)
        found = await asyncio.to_thread(
            list_keys, where, query.tenant, limit=query.limit + 1, after=after
        )
        page = found[: query.limit]
        last = page[-1] if len(found) > len(page) else None
        more = None if last is None else f"{last.created_at.isoformat()}~{last.id}"
        return answer(KeyPage([_view(key) for key in page], more))

    async def create_a_key(request: Request) -> Response:
        """Create a key. Its text is in this answer and nowhere else: only its hash is kept."""
        who, new = actor(request), await body_of(request, NewKey)
        _check(new.expires_at)
        scopes = EVERYTHING if new.scopes is None else frozenset(new.scopes)
        with _told():
            key = await asyncio.to_thread(
                create_key,
                where,
                known_tenant_id(new.tenant),
                new.note,
                mode=new.mode,
                scopes=scopes,
                expires_at=new.expires_at,
                actor=who,
            )
            made = await asyncio.to_thread(get_key, where, key_id_of(key))
        return answer(MadeKey(key, _view(made)), 201)

    async def show_key(request: Request) -> Response:
        """One key, without its secret."""
        with _told():
            return answer(_view(await asyncio.to_thread(get_key, where, _id(request))))

    async def change_a_key(request: Request) -> Response:
        """Change a key's note, scopes or expiry. What is left out stays."""
        who, wanted = actor(request), await body_of(request, KeyChange)
        _check(wanted.expires_at)
        with _told():
            changed = await asyncio.to_thread(
                change_key,
                where,
                _id(request),
                note_=wanted.note,
                scopes=None if wanted.scopes is None else frozenset(wanted.scopes),
                expires_at=wanted.expires_at,
                actor=who,
            )
        return answer(_view(changed))

    async def rotate_a_key(request: Request) -> Response:
        """Make a key in another's place, with the same rights. The old one stays good for `grace`
        seconds, a day if nothing is said, so that both can be in use meanwhile. It may be repeated
        if the answer was lost: the key that was made before and never used is then revoked."""
        who, wanted = actor(request), await body_of(request, Rotation, required=False)
        with _told():
            key, old = await asyncio.to_thread(
                rotate_key, where, _id(request), timedelta(seconds=wanted.grace), actor=who
            )
            made = await asyncio.to_thread(get_key, where, key_id_of(key))
        return answer(MadeKey(key, _view(made), _view(old)), 201)

    async def revoke_a_key(request: Request) -> Response:
        """Make a key worthless, in every process within a second. It stays in the list."""
        who = actor(request)
        with _told():
            return answer(
                _view(await asyncio.to_thread(revoke_key, where, _id(request), actor=who))
            )

    every, one = PREFIX + "keys", PREFIX + "keys/{id}"
    return [
        Operation("GET", every, list_all_keys, query=_Query, answer=KeyPage),
        Operation("POST", every, create_a_key, body=NewKey, answer=MadeKey, status=201),
        Operation("GET", one, show_key, answer=KeyView),
        Operation("PATCH", one, change_a_key, body=KeyChange, answer=KeyView),
        Operation("DELETE", one, revoke_a_key, answer=KeyView),
        Operation(
            "POST",
            one + "/rotate",
            rotate_a_key,
            body=Rotation,
            body_required=False,
            answer=MadeKey,
            status=201,
        ),
    ]


def _id(request: Request) -> str:
    key_id: str = request.path_params["id"]
    if _KEY_ID.fullmatch(key_id) is None:
        raise OperatorProblem("key_not_found")
    return key_id


def _check(expires_at: datetime | None) -> None:
    if expires_at is None:
        return
    now = datetime.now(UTC)
    if not now < expires_at <= now + LONGEST_LIFE:
        detail = "A time in the future, at most ten years ahead."
        raise validation_failed([FieldError("out_of_range", detail, "/expires_at")])


def _position(cursor: str) -> tuple[str, str]:
    at, _, key_id = cursor.rpartition("~")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise Problem("invalid_cursor") from None
    if moment.utcoffset() is None or _KEY_ID.fullmatch(key_id) is None:
        raise Problem("invalid_cursor")
    return at, key_id


@contextmanager
def _told() -> Iterator[None]:
    """What the store refuses, as problems."""
    try:
        yield
    except UnknownTenant:
        raise OperatorProblem("tenant_not_found") from None
    except UnknownKey:
        raise OperatorProblem("key_not_found") from None
    except KeyEnded:
        raise OperatorProblem("key_ended") from None


def _view(key: ApiKey) -> KeyView:
    return KeyView(
        id=key.id,
        tenant=key.tenant,
        note=key.note,
        mode=key.mode,
        scopes=named(key.scopes),
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        revoked_at=key.revoked_at,
        replaced_by=key.replaced_by,
    )
