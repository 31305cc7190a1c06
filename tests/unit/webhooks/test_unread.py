"""A webhook that its adapter cannot read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from adapters.restate.serde import JsonSerde
from adapters.wasm.contract import Webhook
from handlers.reports import Told, WebhookCall
from handlers.unread import LONGEST_PAUSE, MOST_TRIES, pause_after, until_read

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CALL = WebhookCall("alice", "own", Webhook("POST", {}, "application/json", "{}"), NOW)
SERDE: JsonSerde[Told] = JsonSerde(Told)


@dataclass
class Journal:
    """Restate, as far as this needs it: each try is written down, and pauses take no time."""

    pauses: list[timedelta] = field(default_factory=list)
    tries: int = 0

    def request(self) -> SimpleNamespace:
        return SimpleNamespace(id="inv_1")

    async def run_typed(self, name, action, options, *given):
        self.tries += 1
        serde = options.serde
        return serde.deserialize(serde.serialize(await action(*given)))

    async def sleep(self, pause: timedelta) -> None:
        self.pauses.append(pause)


@dataclass
class Notes:
    lines: list[tuple[object, ...]] = field(default_factory=list)

    async def failed(self, tenant, adapter, webhook, received_at, tries, kind, *, given_up):
        assert (tenant, adapter, webhook, received_at) == ("alice", "own", "inv_1", NOW)
        self.lines.append((tries, kind, given_up))

    async def read(self, tenant, adapter, webhook):
        assert (tenant, adapter, webhook) == ("alice", "own", "inv_1")
        self.lines.append(("read",))


def failing(times: int):
    """An adapter that fails so many times, and reads then."""
    left = [times]

    async def look() -> Told:
        left[0] -= 1
        return Told(failed="malformed") if left[0] >= 0 else Told()

    return look


@pytest.mark.parametrize(
    ("failures", "lines"),
    [
        (0, []),
        (1, [(1, "malformed", False), ("read",)]),
        (3, [(1, "malformed", False), (2, "malformed", False), (3, "malformed", False), ("read",)]),
    ],
)
async def test_it_is_tried_until_it_is_read(failures, lines):
    journal, notes = Journal(), Notes()
    assert await until_read(journal, CALL, failing(failures), SERDE, notes) == Told()
    assert notes.lines == lines
    assert journal.pauses == [timedelta(seconds=2**n) for n in range(failures)]


async def test_it_is_given_up_after_a_day():
    journal, notes = Journal(), Notes()
    assert await until_read(journal, CALL, failing(10**6), SERDE, notes) is None
    assert journal.tries == len(notes.lines) == MOST_TRIES
    assert [line[2] for line in notes.lines] == [False] * (MOST_TRIES - 1) + [True]
    assert timedelta(hours=24) <= sum(journal.pauses, timedelta()) < timedelta(hours=24.2)
    assert max(journal.pauses) == pause_after(10**9) == LONGEST_PAUSE
