"""What is asked again before a message is sent later than at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.store.schema import open_store
from adapters.store.tenants import add_tenant, change_tenant
from adapters.suppression.hashing import Hasher
from adapters.suppression.second_look import StoredSecondLook
from adapters.suppression.store import WrongKey
from domain.failures import Failure, FailureCode
from domain.message import Category, Content, Level, MessageOrder, Step
from domain.mode import Mode
from domain.suppression import EVERYBODY, Reason
from tests.unit.suppression.conftest import SECRET, World

NOW = datetime(2026, 5, 1, tzinfo=UTC)
ANNA = "+4520123456"
STOPPED = Failure(FailureCode.RECIPIENT_BLOCKED, detail="the person wrote STOP")
SUSPENDED = Failure(FailureCode.ACCOUNT_SUSPENDED)


def order(category: Category = Category.TRANSACTIONAL, **facts) -> MessageOrder:
    return MessageOrder(
        tenant=facts.pop("tenant", "acme"),
        to={"sms": ANNA, "whatsapp": ANNA, "email": "Anna@Example.com", **facts.pop("to", {})},
        content=Content("Hello"),
        plan=(Step("sms", 30, Level.SENT),),
        accepted_at=NOW,
        expires_at=NOW + timedelta(hours=1),
        category=category,
        **facts,
    )


def stop(world: World, channel: str = "sms", address: str = ANNA, tenant: str = "acme") -> int:
    entry = world.store.entry(tenant, channel, address, Reason.STOP)
    world.store.put(tenant, [entry])
    return entry.key


@pytest.fixture
async def look(world: World) -> AsyncIterator[StoredSecondLook]:
    made = StoredSecondLook(world.where, world.hasher)
    yield made
    await made.close()


async def test_a_change_is_seen_at_once(world: World, look: StoredSecondLook):
    assert await look.refusal(order(), "sms") is None
    key = stop(world)
    assert await look.refusal(order(), "sms") == STOPPED
    world.store.lift("acme", key)
    assert await look.refusal(order(), "sms") is None


@pytest.mark.parametrize(
    ("sent", "channel", "refusal"),
    [
        (order(), "sms", STOPPED),
        (order(), "whatsapp", None),
        (order(Category.MARKETING), "sms", STOPPED),
        (order(Category.OTP), "sms", None),
        (order(tenant="globex"), "sms", None),
        (order(to={"sms": "+4520123457"}), "sms", None),
        (order(mode=Mode.TEST), "sms", STOPPED),
        (order(mode=Mode.TEST, to={"whatsapp": "+4520109918"}), "whatsapp", STOPPED),
        (order(to={"whatsapp": "+4520109918"}), "whatsapp", None),
        (order(reply=True), "sms", None),
    ],
)
async def test_whom_stop_protects(
    world: World, look: StoredSecondLook, sent: MessageOrder, channel: str, refusal: Failure | None
):
    stop(world)
    assert await look.refusal(sent, channel) == refusal


async def test_a_mailbox_is_found_whatever_its_case(world: World, look: StoredSecondLook):
    stop(world, "email", "anna@EXAMPLE.com")
    assert await look.refusal(order(), "email") == STOPPED


async def test_the_operators_list_holds_for_every_tenant_and_tells_nothing(
    world: World, look: StoredSecondLook
):
    stop(world, tenant=EVERYBODY)
    for tenant in ("acme", "globex"):
        refusal = await look.refusal(order(tenant=tenant), "sms")
        assert refusal is not None
        assert refusal.code is FailureCode.RECIPIENT_BLOCKED
        assert "STOP" not in (refusal.detail or "")


async def test_a_suspended_tenant(world: World, look: StoredSecondLook):
    add_tenant(world.where, "acme", {})
    assert await look.refusal(order(), "sms") is None
    change_tenant(world.where, "acme", {"suspended": True})
    assert await look.refusal(order(Category.OTP, reply=True), "sms") == SUSPENDED
    assert await look.refusal(order(tenant="globex"), "sms") is None
    change_tenant(world.where, "acme", {"suspended": False})
    assert await look.refusal(order(), "sms") is None


async def test_settings_that_cannot_be_read_send_nothing(world: World, look: StoredSecondLook):
    """As in the memory of the API."""
    add_tenant(world.where, "acme", {})
    with closing(open_store(world.where, "hermes")) as database:
        database.execute("UPDATE tenants SET settings_json = ? WHERE id = ?", ("{", "acme"))
    assert await look.refusal(order(), "sms") == SUSPENDED


async def test_a_database_that_fails_is_no_permission(world: World, look: StoredSecondLook):
    with closing(open_store(world.where, "hermes")) as database:
        database.execute("ALTER TABLE suppressions RENAME TO elsewhere")
        with pytest.raises(Exception, match="suppressions"):
            await look.refusal(order(), "sms")
        database.execute("ALTER TABLE elsewhere RENAME TO suppressions")
    assert await look.refusal(order(), "sms") is None


async def test_another_key_would_recognise_nobody(
    world: World, look: StoredSecondLook, where: Path | str
):
    with pytest.raises(WrongKey):
        StoredSecondLook(where, Hasher(SECRET[::-1]))
