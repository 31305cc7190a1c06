"""Every scenario runs several times: with handlers that are suspended when they wait for long, with
handlers that are suspended and replayed at every await, and with both when attempts go to their
channels directly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest

import virtual_objects.journey
import virtual_objects.message
from adapters.restate.ingress import RestateIngress
from adapters.store.message_log import SqliteMessageLog
from adapters.store.recipients import Places
from adapters.suppression.store import SuppressionStore
from tests.cascade.world import HASHER, Backstage, Cascade
from tests.restate_server import Restate, running_restate, served

# Half a second: receipts and submissions of a scenario mostly come before it, timeouts and
# schedules mostly after, so that both ways of going on are met. The product's setting is 5 s.
_INACTIVITY = {"suspending": "500ms", "replaying": "0s"}
_WAYS = {"suspending": False, "replaying": False, "direct": True, "replaying-direct": True}

# Shorter than the product's, since they are waited for often.
_PATIENCE = {
    (virtual_objects.message, "UNKNOWN_GRACE"): timedelta(seconds=0.6),
    (virtual_objects.message, "LOOK_AGAIN"): timedelta(seconds=0.3),
    (virtual_objects.journey, "STALE_AFTER"): timedelta(seconds=0.3),
    (virtual_objects.journey, "SHORT"): timedelta(seconds=0.3),
    (virtual_objects.journey, "PATIENCE"): timedelta(seconds=0.3),
    (virtual_objects.journey, "POOL_PATIENCE"): timedelta(seconds=0.3),
}


@dataclass
class Stage:
    """A server with the handlers on it."""

    restate: Restate
    backstage: Backstage
    direct: bool


@pytest.fixture(scope="session", params=list(_WAYS))
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp(f"restate-{request.param}")
    backstage = Backstage(directory / "hermes.db")
    direct = _WAYS[request.param]
    inactivity = _INACTIVITY[request.param.split("-")[0].replace("direct", "suspending")]
    with (
        pytest.MonkeyPatch.context() as patch,
        served(backstage.application) as endpoint,
        running_restate(directory, inactivity_timeout=inactivity) as server,
    ):
        for (module, name), time in _PATIENCE.items():
            patch.setattr(module, name, time)
        backstage.ingress = server.ingress
        server.register(endpoint)
        yield Stage(server, backstage, direct)
        backstage.channels.close()


@pytest.fixture
async def cascade(stage: Stage) -> AsyncIterator[Cascade]:
    log = SqliteMessageLog(stage.backstage.database, Places(bytes(32)))
    engine = RestateIngress(stage.restate.ingress, direct=stage.direct)
    async with httpx.AsyncClient(timeout=30, verify=False) as http:
        backstage = stage.backstage
        yield Cascade(
            stage.restate,
            backstage.channels,
            backstage.endings,
            backstage.looks,
            SuppressionStore(backstage.database, HASHER),
            log,
            engine,
            http,
            stage.direct,
        )
    await engine.close()
    await log.close()
