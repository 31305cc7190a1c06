"""A pool against the SMSC simulator: real sockets, one process, receipts that go nowhere."""

import asyncio
import contextlib
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from adapters.smpp.carriers import carrier as carriers
from adapters.smpp.carriers.config import CarrierConfig
from adapters.smpp.carriers.supervisor import Intensity
from adapters.smpp.correlator import Correlator
from adapters.smpp.pool import BindPool
from adapters.smpp.protocol.pdu import SubmitSm
from adapters.smpp.protocol.session import SmscSession
from adapters.smpp.store.journal import Journal
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
        self.closed = False

    @property
    def carrier(self):
        return self.binds.mesh.carriers[0]

    @property
    def bound(self):
        return self.carrier.bound

    @property
    def binds_made(self):
        return sum(c.binds for c in self.carrier.health().connections)

    async def close(self):
        """As at the end of the process. What the journal then holds is what a killed process
        leaves, too: nothing is written for taking leave."""
        if self.closed:
            return
        self.closed = True
        await self.binds.close()
        await self.correlator.close()
        await self.journal.close()


@pytest.fixture
async def smsc():
    """Starts SMSC simulators: `await smsc(receipt_delay=…)`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*, port=0, tls=None, **options):
            simulator = SmscSimulator(Options(**{"receipt_delay": 0.01, **options}), tls)
            simulator.port, _ = await simulator.start(port=port)
            stack.push_async_callback(simulator.stop)
            return simulator

        yield start


class Carrier:
    """An SMSC that does only what it is told to: answers binds, and keeps submits to itself."""

    def __init__(self):
        self.dialed = []
        self.sessions = []
        self.submits = []
        self.refusal = 0
        self.hangs_up = False

    async def start(self):
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(self._new_session, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    def answer(self, smsc_id):
        """Answer the oldest submit that has none."""
        session, sequence, pdu = self.submits.pop(0)
        session.respond(sequence, pdu.command_id, 0, smsc_id)

    async def deliver(self, pdu):
        """Send a deliver_sm on the newest bind; what it is answered."""
        return await self.sessions[-1].deliver(pdu)

    def stop(self):
        self.server.close()
        for session in self.sessions:
            session.abort()

    def _new_session(self):
        self.dialed.append(time.monotonic())
        session = SmscSession(
            on_bind=self._bind, on_submit=lambda *submit: self.submits.append(submit), window=10
        )
        self.sessions.append(session)
        return session

    def _bind(self, session, sequence, bind):
        if self.refusal:
            session.refuse_bind(sequence, self.refusal)
            return
        session.accept_bind(sequence, "test")
        if self.hangs_up:
            # Once the answer has left.
            asyncio.get_running_loop().call_soon(session.abort)


@pytest.fixture
async def carrier():
    carrier = await Carrier().start()
    yield carrier
    carrier.stop()


def config_for(port, **more):
    """A carrier's account with what listens on a port of this machine."""
    return CarrierConfig(
        **{
            "name": "carrier",
            "hosts": (f"127.0.0.1:{port}",),
            "tls": False,
            "system_id": "hermes",
            "password": "hermes",
            "response_timeout": 0.2,
            **more,
        }
    )


SWIFT = Intensity(
    first_pause=0.005,
    longest_pause=0.04,
    slow_pause=0.08,
    hopeless_pause=0.6,
    steady=0.1,
    failures=10,
    period=60.0,
)
"""The supervisor's pauses, shortened."""


class Account:
    """A carrier without a pool around it: what it delivers is acknowledged and kept."""

    def __init__(self, config, **more):
        self.delivered = []
        self.states = []
        self.carrier = carriers.Carrier(
            config, self._deliver, on_state=lambda c: self.states.append(c.state), **more
        )

    @property
    def connections(self):
        return self.carrier.health().connections

    def _deliver(self, session, sequence, pdu):
        self.delivered.append((session.bind, pdu))
        session.acknowledge(sequence, pdu.command_id)

    async def lease(self, parts=1, *, priority=1, tenant="acme", patience=5.0):
        return await self.carrier.lease(parts, priority=priority, tenant=tenant, patience=patience)

    async def use(self, lease, to="4520100000", text=b"hello"):
        """Submit one part, as the pool does."""
        body = SubmitSm(
            source_addr="Hermes",
            destination_addr=to,
            short_message=text,
            registered_delivery=1,
        ).encode_body()
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        status, _ = await lease.submit(body, sent_at + 5)
        self.carrier.answered(status, sent_at)
        return status

    async def send(self, to="4520100000", text=b"hello", **more):
        return await self.use(await self.lease(**more), to, text)

    async def flood(self, count, **more):
        """Send so many at once; what became of each."""
        return await asyncio.gather(
            *(self.send(text=b"%d" % n, **more) for n in range(count)), return_exceptions=True
        )


@pytest.fixture
async def account():
    """Starts a carrier: `await account(smsc, window=…)`, and leaves no task of it behind."""
    before, opened = asyncio.all_tasks(), []

    async def start(smsc, *, bound=True, intensity=SWIFT, order=carriers.Order.ACTIVE, **config):
        config = {"response_timeout": 5.0, **config}
        opened.append(
            Account(
                config_for(getattr(smsc, "port", smsc), **config), intensity=intensity, order=order
            )
        )
        account = opened[-1]
        if bound:
            await eventually(lambda: all(c.bound for c in account.connections))
        return account

    yield start
    for each in opened:
        await each.carrier.close()
    left = asyncio.all_tasks() - before
    assert [t for t in left if "adapters/smpp/" in t.get_coro().cr_code.co_filename] == []


@pytest.fixture
def unhurried(monkeypatch):
    """Pauses without jitter."""
    monkeypatch.setattr("random.uniform", lambda low, high: high)


@pytest.fixture
async def pool(tmp_path):
    """Starts pools on one journal file: `await pool(smsc)`, again after its `close`; several at a
    time if the journal is at another address."""
    pools = []

    async def start(smsc, *, sink=None, bound=True, more=(), journal=None, **account):
        sink = sink or Sink()
        configs = [config_for(smsc.port, **account), *more]
        pool = Pool(journal or tmp_path / "smpp.db", configs, sink)
        pools.append(pool)
        await pool.correlator.recover()
        if bound:
            await eventually(lambda: pool.bound)
        return pool

    yield start
    for each in pools:
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
