"""A pool against the SMSC simulator: real sockets, one process, receipts that go nowhere."""

import asyncio
import contextlib
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from adapters.smpp.correlator import Correlator
from adapters.smpp.journal import Journal
from adapters.smpp.link import Account
from adapters.smpp.pool import BindPool
from domain.delivery import DeliveryRequest
from domain.message import Content
from domain.ports import EngineUnavailable
from infra.simulators.smsc import Options, SmscSimulator
from tests.waiting import eventually


class Sink:
    """Restate's place: keeps what it is told, or is down."""

    def __init__(self):
        self.resolved = defaultdict(list)
        self.reported = defaultdict(list)
        self.refused = 0
        self.down = False

    async def resolve(self, ref, receipt):
        self._check()
        self.resolved[ref].append(receipt)

    async def report(self, message_id, receipt):
        self._check()
        self.reported[message_id].append(receipt)

    def _check(self):
        if self.down:
            self.refused += 1
            raise EngineUnavailable("down")


class Pool:
    """A bind pool with its journal, as one process would have it."""

    def __init__(self, path, accounts, sink):
        self.sink = sink
        self.journal = Journal(path)
        self.correlator = Correlator(self.journal, sink)
        self.binds = BindPool(accounts, self.journal, self.correlator)
        self.deliver = self.binds.deliver
        self.release = self.binds.release

    @property
    def link(self):
        return self.binds.links[0]

    async def close(self):
        await self.binds.close()
        await self.correlator.close()
        await self.journal.close()

    async def kill(self):
        """End as a killed process does: nothing is unbound or taken leave of."""
        for link in self.binds.links:
            link._task.cancel()
            if link._session is not None:
                link._session.abort()
        await self.close()


@pytest.fixture
async def smsc():
    """Starts SMSC simulators: `await smsc(receipt_delay=…)`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*, port=0, **options):
            simulator = SmscSimulator(Options(**{"receipt_delay": 0.01, **options}))
            simulator.port, _ = await simulator.start(port=port)
            stack.push_async_callback(simulator.stop)
            return simulator

        yield start


@pytest.fixture
async def pool(tmp_path):
    """Starts pools on one journal file: `await pool(simulator)`, again after `kill` or `close`."""
    pools = []

    async def start(smsc, *, sink=None, bound=True, **account):
        sink = sink or Sink()
        defaults = {"name": "carrier", "host": "127.0.0.1", "port": smsc.port}
        login = {"system_id": "hermes", "password": "hermes", "response_timeout": 0.2}
        pool = Pool(tmp_path / "smpp.db", [Account(**{**defaults, **login, **account})], sink)
        pools.append(pool)
        await pool.correlator.recover()
        if bound:
            await eventually(lambda: pool.link.bound)
        return pool

    yield start
    for each in pools:
        with contextlib.suppress(Exception):
            await each.close()


@pytest.fixture
def request_for():
    """Makes delivery requests; each message has an awakeable of its own for each attempt."""

    def make(to="+4520100000", message="msg_1", attempt=1, text="Hello", **more):
        return DeliveryRequest(
            **{
                "message": message,
                "attempt": attempt,
                "tenant": "acme",
                "to": to,
                "content": Content(text),
                "receipt_ref": f"ref_{message}_{attempt}",
                "not_after": datetime.now(UTC) + timedelta(minutes=1),
                **more,
            }
        )

    return make


@pytest.fixture(autouse=True)
async def no_task_dies_unheard():
    """A background task that fails has found a bug, even where the test does not look."""
    loop, failures = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: failures.append(context))
    yield
    assert failures == []
