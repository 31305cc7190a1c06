"""Inbound messages between a carrier on a socket, a real journal, and Restate's place."""

import asyncio
import itertools

import pytest

from adapters.smpp.inbound.inbound import Inbound
from adapters.smpp.protocol.constants import EsmClass
from adapters.smpp.protocol.pdu import BindTransceiver, DeliverSm
from adapters.smpp.protocol.session import SmscSession, connect
from adapters.smpp.store.journal import Journal
from domain.inbound import InboundRoute, Routes
from domain.ports import EngineRefused, EngineUnavailable
from domain.sms.segmentation import segment
from tests.waiting import eventually

NUMBER = "+4512345678"
PERSON = "4520100000"
ROUTES = Routes(
    [
        InboundRoute(NUMBER, None, "acme", "https://acme.example/in"),
        InboundRoute(NUMBER, "STOP", "stopper", "https://stopper.example/in"),
    ]
)
_references = itertools.count()


def messages(text, *, source=PERSON, destination=NUMBER, reference=None):
    """The deliver_sms of one text."""
    reference = next(_references) % 256 if reference is None else reference
    cut = segment(text, reference=reference)
    return [
        DeliverSm(
            source_addr=source,
            source_addr_ton=1,
            destination_addr=destination.lstrip("+"),
            dest_addr_ton=1,
            esm_class=EsmClass.UDHI if len(cut.parts) > 1 else 0,
            data_coding=cut.data_coding,
            short_message=cut.udh(index) + payload,
        )
        for index, payload in enumerate(cut.parts)
    ]


class Sink:
    """Restate's place: knows what it has by its id, or is down, or refuses."""

    def __init__(self):
        self.told = {}
        self.calls = 0
        self.down = self.refuses = False

    async def inbound(self, delivery):
        self.calls += 1
        if self.down:
            raise EngineUnavailable("down")
        if self.refuses:
            raise EngineRefused("HTTP 413")
        self.told.setdefault(delivery.id, delivery)

    @property
    def texts(self):
        return sorted(delivery.event.data.text for delivery in self.told.values())


class Carrier:
    """An SMSC that accepts binds and delivers what it is told to."""

    def __init__(self):
        self.sessions = []

    async def start(self):
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(self._new_session, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def deliver(self, *pdus, session=-1):
        """Send deliver_sms on a bind; what each is answered."""
        return await asyncio.gather(*(self.sessions[session].deliver(pdu) for pdu in pdus))

    def stop(self):
        self.server.close()
        for session in self.sessions:
            session.abort()

    def _new_session(self):
        session = SmscSession(
            on_bind=lambda session, sequence, bind: session.accept_bind(sequence, "test"),
            on_submit=lambda *_: None,
            window=1000,
        )
        self.sessions.append(session)
        return session


class Process:
    """What one process of the bind pool has of inbound messages."""

    def __init__(self, path, carrier, sink, **options):
        self.carrier = carrier
        self.sink = sink
        self.journal = Journal(path)
        self.inbound = Inbound(self.journal, sink, options.pop("routes", ROUTES), **options)
        self.counts = self.inbound.counts
        self.sessions = []
        self.closed = False

    async def bind(self):
        bind = BindTransceiver("hermes", "hermes")
        self.sessions.append(
            await connect(
                "127.0.0.1",
                self.carrier.port,
                bind=bind,
                on_deliver=lambda *deliver: self.inbound.on_deliver("carrier", *deliver),
            )
        )
        return self.sessions[-1]

    async def forwarded(self, *texts):
        """When exactly these have been handed over, and nothing is left in hand."""
        await eventually(lambda: len(self.sink.told) >= len(texts) and not self.inbound.in_hand)
        assert self.sink.texts == sorted(texts)

    async def waiting(self):
        return await self.journal.inbound_waiting(float("inf"))

    async def close(self):
        """As at the end of the process; a killed one leaves the same, as nothing is written for
        taking leave."""
        if self.closed:
            return
        self.closed = True
        for session in self.sessions:
            session.abort()
        await self.inbound.close()
        await self.journal.close()


@pytest.fixture
async def carrier():
    carrier = await Carrier().start()
    yield carrier
    carrier.stop()


@pytest.fixture
async def process(tmp_path, carrier):
    """Starts processes on one journal: `await process()`, again after its `close`."""
    started = []

    async def start(*, sink=None, **options):
        one = Process(tmp_path / "smpp.db", carrier, sink or Sink(), **options)
        started.append(one)
        await one.inbound.recover()
        await one.bind()
        return one

    yield start
    for each in started:
        await each.close()


@pytest.fixture(autouse=True)
async def no_task_dies_unheard():
    """A background task that fails has found a bug, even where the test does not look."""
    loop, failures = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: failures.append(context))
    yield
    assert failures == []
