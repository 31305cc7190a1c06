"""A day's quota is never gone beyond, whoever takes from it, and nearly all of it can be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.limits.quota import Quotas
from adapters.store.schema import open_store

DAY = "2026-05-01"


async def take(quotas: Quotas, limit: int, day: str = DAY, tenant: str = "acme") -> bool:
    found = quotas.take(tenant, day, limit)
    return found if isinstance(found, bool) else await found


def taken(where: Path | str) -> int:
    database = open_store(where, "hermes")
    try:
        row = database.execute("SELECT taken FROM quotas WHERE tenant = 'acme'").fetchone()
        return 0 if row is None else row[0]
    finally:
        database.close()


@pytest.mark.parametrize("limit", [1, 2, 10, 250, 1_003])
async def test_exactly_the_quota_is_let_through(where, limit):
    quotas = Quotas(where)
    passed = [await take(quotas, limit) for _ in range(limit + 20)]
    assert passed == [True] * limit + [False] * 20
    await quotas.close()
    assert taken(where) == limit


async def test_two_processes_share_one_quota(where):
    one, two = Quotas(where), Quotas(where)
    passed = 0
    for _ in range(600):
        passed += await take(one, 500)
        passed += await take(two, 500)
    assert passed == 500
    await one.close()
    await two.close()
    assert taken(where) == 500


async def test_what_a_process_did_not_use_goes_back(where):
    one = Quotas(where)
    assert await take(one, 10_000)
    await one.close()
    assert taken(where) == 1


async def test_a_lease_costs_one_write_for_many_messages(where):
    """Without a lease each of them would wait for the disk."""
    quotas = Quotas(where)
    assert await take(quotas, 100_000)
    in_memory = [quotas.take("acme", DAY, 100_000) for _ in range(700)]
    assert in_memory == [True] * 700
    await quotas.close()


async def test_the_next_day_begins_anew(where):
    quotas = Quotas(where)
    assert [await take(quotas, 2) for _ in range(3)] == [True, True, False]
    assert await take(quotas, 2, "2026-05-02")
    await quotas.close()


async def test_a_quota_that_was_raised_is_felt_at_once(where):
    quotas = Quotas(where)
    assert [await take(quotas, 1) for _ in range(2)] == [True, False]
    assert await take(quotas, 5)
    await quotas.close()


async def test_what_is_given_back_is_there_again(where):
    quotas = Quotas(where)
    assert [await take(quotas, 1) for _ in range(2)] == [True, False]
    quotas.give_back("acme", DAY)
    assert await take(quotas, 1)
    quotas.give_back("acme", "2026-04-30")
    assert not await take(quotas, 1)
    await quotas.close()
