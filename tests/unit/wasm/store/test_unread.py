"""What adapters could not read, as their tenants and the door see it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adapters.store.sections import Sections
from adapters.wasm.installed import NOTHING_UNREAD, Unread
from adapters.wasm.store.unread import KEPT, SECTION, UnreadNotes, count

AT = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def notes(world):
    return UnreadNotes(world.where, clock=lambda: world.now)


@pytest.fixture
def section(world):
    sections = Sections(world.where)
    yield sections.register(SECTION, count)
    sections.close()


def counted(section):
    section.refresh()
    return dict(section.value)


async def fail(notes, adapter, webhook, tries=1, *, tenant="alice", given_up=False, at=AT):
    await notes.failed(tenant, adapter, webhook, at, tries, "malformed", given_up=given_up)


async def test_what_waits_and_what_was_given_up_is_counted(notes, section):
    assert counted(section) == {}
    await fail(notes, "acme", "one", at=AT + timedelta(hours=1))
    await fail(notes, "acme", "two")
    await fail(notes, "other", "three")
    await fail(notes, "acme", "four", tenant="bob")
    waiting = Unread(waiting=1, since=AT, kind="malformed")
    assert counted(section) == {
        ("alice", "acme"): Unread(waiting=2, since=AT, kind="malformed"),
        ("alice", "other"): waiting,
        ("bob", "acme"): waiting,
    }
    await fail(notes, "acme", "two", 154, given_up=True)
    await notes.read("alice", "other", "three")
    assert counted(section) == {
        ("alice", "acme"): Unread(waiting=1, given_up=1, since=AT, kind="malformed"),
        ("bob", "acme"): waiting,
    }


async def test_one_more_try_has_nobody_count_again(notes, section):
    await fail(notes, "acme", "one")
    section.refresh()
    before = section.version
    await fail(notes, "acme", "one", 2)
    await notes.read("alice", "acme", "never failed")
    section.refresh()
    assert section.version == before
    assert counted(section)["alice", "acme"].waiting == 1


async def test_the_tenant_sees_it_beside_the_adapter(world, notes):
    world.use("alice")
    world.use("bob")
    await fail(notes, "acme", "one")
    assert world.store.get("alice", "acme").unread.waiting == 1
    assert world.store.get("bob", "acme").unread == NOTHING_UNREAD


async def test_what_was_given_up_is_forgotten_in_time(world, notes, section):
    await fail(notes, "acme", "one", 154, given_up=True)
    await fail(notes, "acme", "two")
    world.now += KEPT - 1
    notes.sweep()
    assert counted(section)["alice", "acme"].given_up == 1
    world.now += 2
    notes.sweep()
    # What waits is not given up by being old.
    assert counted(section)["alice", "acme"] == Unread(waiting=1, since=AT, kind="malformed")
