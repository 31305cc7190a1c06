"""The adapters' own stores."""

from __future__ import annotations

import asyncio

import pytest

from adapters.wasm.store.values import NotText, QuotaExceeded, SqliteValueStore


@pytest.fixture
async def values(where):
    store = SqliteValueStore(where, max_keys=4, max_bytes=100)
    yield store
    await store.close()


async def test_what_is_saved_is_there_for_its_adapter_alone(values):
    await values.save("alice", "acme", {"a": "1", "b": "2"})
    await values.save("alice", "acme", {"a": None, "b": "3", "c": "", "never": None})
    await values.save("alice", "acme", {})
    assert await values.load("alice", "acme") == {"b": "3", "c": ""}
    assert await values.load("alice", "other") == await values.load("bob", "acme") == {}


async def test_another_process_sees_it(values, where):
    await values.save("alice", "acme", {"cursor": "17"})
    other = SqliteValueStore(where)
    assert await other.load("alice", "acme") == {"cursor": "17"}
    await other.close()


@pytest.mark.parametrize(
    ("before", "changes"),
    [
        ({}, {str(n): "" for n in range(5)}),
        ({}, {"a": "x" * 100}),
        ({}, {"a": "é" * 50}),
        ({}, {"k" * 101: ""}),
        ({"a": "x" * 60}, {"b": "x" * 60}),
        ({"a": "", "b": "", "c": "", "d": ""}, {"e": "", "a": "new"}),
        ({"a": "1"}, {"a": "2", "b": "\ud800"}),
    ],
)
async def test_what_does_not_fit_changes_nothing(values, before, changes):
    await values.save("alice", "acme", before)
    with pytest.raises((QuotaExceeded, UnicodeEncodeError)):
        await values.save("alice", "acme", changes)
    assert await values.load("alice", "acme") == before


@pytest.mark.parametrize(
    ("before", "changes"),
    [
        ({"a": "x" * 99}, {"a": "y" * 99}),
        ({"a": "x" * 90}, {"a": None, "b": "x" * 90}),
        ({"a": "", "b": "", "c": "", "d": ""}, {"e": "", "a": None}),
    ],
)
async def test_what_is_replaced_makes_room(values, before, changes):
    await values.save("alice", "acme", before)
    await values.save("alice", "acme", changes)
    left = {key: value for key, value in (before | changes).items() if value is not None}
    assert await values.load("alice", "acme") == left


async def test_of_many_at_once_only_those_that_fit_are_written(values):
    """Each is whole or refused by itself, whoever shares its commit."""
    saves = [values.save("alice", "acme", {f"k{n}": str(n)}) for n in range(40)]
    saves += [values.save(f"tenant{n}", "acme", {"k": str(n)}) for n in range(40)]
    ended = await asyncio.gather(*saves, return_exceptions=True)
    assert [type(each) for each in ended[:40]].count(QuotaExceeded) == 36
    assert ended[40:] == [None] * 40
    assert len(await values.load("alice", "acme")) == 4
    assert await values.load("tenant39", "acme") == {"k": "39"}


async def test_a_save_whose_caller_has_gone_harms_no_other(values):
    leaving = asyncio.create_task(values.save("alice", "acme", {"a": "1"}))
    staying = asyncio.create_task(values.save("bob", "acme", {"b": "2"}))
    await asyncio.wait({leaving, staying}, timeout=0)
    leaving.cancel()
    await staying
    assert await values.load("bob", "acme") == {"b": "2"}


async def test_closing_waits_for_what_is_queued(where):
    store = SqliteValueStore(where)
    saving = asyncio.create_task(store.save("alice", "acme", {"a": "1"}))
    await asyncio.wait({saving}, timeout=0)
    await store.close()
    await saving
    again = SqliteValueStore(where)
    assert await again.load("alice", "acme") == {"a": "1"}
    await again.close()


@pytest.mark.parametrize("changes", [{"a": "\0"}, {"\0": "a"}, {"b": "1", "c": "x\0y"}])
async def test_what_no_database_keeps_is_refused_and_spoils_nobody_elses_save(values, changes):
    """U+0000: whoever saves at the same moment is in the same transaction."""
    refused, other = await asyncio.gather(
        values.save("alice", "acme", changes),
        values.save("bob", "acme", {"a": "1"}),
        return_exceptions=True,
    )
    assert isinstance(refused, NotText)
    assert other is None
    assert await values.load("alice", "acme") == {}
    assert await values.load("bob", "acme") == {"a": "1"}


@pytest.mark.parametrize("text", ["back\\slash", "\\x41", "\\", "é\\000"])
async def test_the_size_of_a_text_is_its_octets_whatever_is_in_it(values, text):
    await values.save("alice", "acme", {"a": text})
    assert await values.load("alice", "acme") == {"a": text}
    await values.save("alice", "acme", {"a": "x" * 99})
    with pytest.raises(QuotaExceeded):
        await values.save("alice", "acme", {"a": "x" * 98 + "é"})
