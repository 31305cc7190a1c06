"""The quality window over restarts and between processes, on each database."""

import time

from adapters.routing.quality_store import SharedQuality
from adapters.store.change import looking
from domain.routing.quality import BUCKET, WINDOW

WAY, DK = "carrier:a", "45"


async def test_a_restart_forgets_nothing_that_was_exchanged(where):
    now = time.time()
    first = SharedQuality(where)
    await first.start()
    for _ in range(50):
        first.quality.sent(WAY, DK, now)
        first.quality.failed(WAY, DK, now)
    await first.close()
    second = SharedQuality(where)
    await second.start()
    assert second.quality.of(WAY, DK, now).seen == 50
    assert second.quality.of(WAY, DK, now).rate < 0.2
    await second.close()


async def test_what_one_process_counts_is_known_to_the_other(where):
    now = time.time()
    pool, api = SharedQuality(where), SharedQuality(where)
    await pool.start()
    await api.start()
    pool.quality.sent(WAY, DK, now)
    api.quality.delivered(WAY, DK, now, now + 3)
    for _ in range(2):
        await pool.exchange()
        await api.exchange()
    assert api.quality.of(WAY, DK, now).seen == pool.quality.of(WAY, DK, now).seen == 1
    await pool.close()
    await api.close()
    with looking(where) as database:
        rows = database.execute("SELECT sent, delivered, failed FROM route_quality").fetchall()
    assert [tuple(row) for row in rows] == [(1, 1, 0)]


async def test_what_is_old_is_removed(where):
    now = time.time()
    shared = SharedQuality(where)
    await shared.start()
    shared.quality.sent(WAY, DK, now - WINDOW - 2 * BUCKET)
    await shared.exchange()
    shared.quality.sent(WAY, DK, now)
    await shared.close()
    with looking(where) as database:
        (count,) = database.execute("SELECT count(*) FROM route_quality").fetchone()
    assert count == 1


async def test_a_database_that_is_away_loses_nothing(tmp_path):
    now = time.time()
    blocked = tmp_path / "file"
    blocked.write_text("")
    shared = SharedQuality(blocked / "hermes.db")
    await shared.start()
    shared.quality.sent(WAY, DK, now)
    shared.quality.failed(WAY, DK, now)
    await shared.exchange()
    assert shared.quality.of(WAY, DK, now).seen == 1
    blocked.unlink()
    await shared.close()
    again = SharedQuality(blocked / "hermes.db")
    await again.start()
    assert again.quality.of(WAY, DK, now).seen == 1
    await again.close()
