"""Who is asked for its health, and when."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.wasm.installed import Health, Installed
from adapters.wasm.manifest import Manifest
from infra.processes.adapters import check_health
from tests.waiting import eventually

WELL = Health(datetime(2026, 11, 22, tzinfo=UTC), ok=True, sick=False)


def installed(name: str) -> Installed:
    manifest = Manifest(name, "1.2.0", "1.0.0", "For a test.", ("sms",), ())
    return Installed("acme", name, "ab" * 32, 1, manifest, Path("none"), {}, {}, 100)


class World:
    """A registry, and a host whose adapters answer when they may."""

    def __init__(self, *names: str) -> None:
        self.adapters = [installed(name) for name in names]
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.noted: list[str] = []
        self.silent = {"silent"}

    def all_active(self) -> list[Installed]:
        return self.adapters

    async def note_health(self, one: Installed, health: Health) -> None:
        self.noted.append(one.adapter)

    async def check(self, one: Installed) -> Health:
        self.begun.append(one.adapter)
        try:
            if one.adapter in self.silent:
                await asyncio.Event().wait()
            return WELL
        finally:
            self.ended.append(one.adapter)


@pytest.fixture
async def world():
    made = World("quick", "silent")
    checks = check_health(made, made, 0.01, first_after=0, look_every=0.001)
    made.task = asyncio.create_task(checks)
    yield made
    made.task.cancel()
    with suppress(asyncio.CancelledError):
        await made.task


async def test_one_that_does_not_answer_is_not_asked_again_meanwhile(world):
    await eventually(lambda: world.noted.count("quick") >= 5)
    assert world.begun.count("silent") == 1


async def test_who_is_not_in_use_any_more_is_not_asked_any_more(world):
    await eventually(lambda: "quick" in world.noted)
    world.adapters = [one for one in world.adapters if one.adapter != "quick"]
    asked = len(world.noted)
    world.adapters.append(installed("new"))
    await eventually(lambda: world.noted.count("new") >= 3)
    assert world.noted[asked:].count("quick") <= 1


async def test_no_check_outlives_its_process(world):
    await eventually(lambda: "silent" in world.begun)
    world.task.cancel()
    await asyncio.gather(world.task, return_exceptions=True)
    assert "silent" in world.ended
