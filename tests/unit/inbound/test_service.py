"""From Restate to the tenant: posted until it is taken, once, and signed."""

import contextlib
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import restate
from aiohttp import web
from restate import InvocationRetryPolicy

import handlers.inbound
from adapters.callbacks.sender import CallbackSender
from adapters.restate.ingress import RestateIngress
from adapters.store.tenants import create_tenant, webhook_secret
from domain.inbound import InboundMessage, InboundRoute, Routes, delivery_of
from handlers.inbound import create_inbound
from tests.cascade.signature import verify
from tests.restate_server import running_restate, served
from tests.unit.inbound.conftest import NUMBER, messages
from tests.waiting import eventually

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
QUICK = InvocationRetryPolicy(
    initial_interval=timedelta(milliseconds=50),
    exponentiation_factor=1.5,
    max_attempts=8,
    on_max_attempts="pause",
)


class Receiver:
    """A tenant's endpoint: answers with each of `statuses`, then with 200."""

    def __init__(self):
        self.statuses = []
        self.heard = []

    async def hear(self, request):
        headers = {name.lower(): text for name, text in request.headers.items()}
        self.heard.append((headers, await request.read()))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@pytest.fixture
async def receiver():
    receiver = Receiver()
    application = web.Application()
    application.router.add_post("/in", receiver.hear)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/in"
    yield receiver
    await runner.cleanup()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A restate-server with the service on it; tenants in `server.tenants`."""
    directory = tmp_path_factory.mktemp("restate")
    tenants = directory / "hermes.db"
    create_tenant(tenants, "acme")

    @contextlib.asynccontextmanager
    async def application():
        sender = CallbackSender(tenants, allow_private=True)
        yield restate.app([create_inbound(sender)])
        await sender.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handlers.inbound, "RETRIES", QUICK)
        with (
            served(application) as endpoint,
            running_restate(directory, inactivity_timeout="500ms") as running,
        ):
            running.register(endpoint)
            yield running, tenants


@pytest.fixture
async def ingress(server):
    ingress = RestateIngress(server[0].ingress)
    yield ingress
    await ingress.close()


def delivery(url, id_="mo_1", tenant="acme", **more):
    message = InboundMessage(
        id=id_,
        carrier="carrier",
        source="+4520100000",
        destination=NUMBER,
        **{
            "text": "blåbær 💙",
            "data": None,
            "parts": 1,
            "missing": (),
            "received_at": NOON,
            "last_at": NOON + timedelta(seconds=2),
            **more,
        },
    )
    return delivery_of(message, InboundRoute(NUMBER, "BLÅBÆR", tenant, url))


def status(server, id_):
    """What Restate says of the invocation that tells of this message."""
    key = f"{id_}.received"
    sql = f"SELECT status FROM sys_invocation WHERE idempotency_key = '{key}'"
    return next((row["status"] for row in server[0].query(sql)), None)


async def done(server, id_):
    await eventually(lambda: status(server, id_) == "completed", pause=0.05)


async def failing(server, id_):
    await eventually(lambda: status(server, id_) == "backing-off", pause=0.01)


async def test_what_is_for_nobodys_endpoint_ends_and_is_posted_nowhere(server, ingress, receiver):
    await ingress.inbound(delivery("", "mo_shared"))
    await done(server, "mo_shared")
    assert receiver.heard == []


async def test_the_tenant_gets_a_signed_event(server, ingress, receiver):
    await ingress.inbound(delivery(receiver.url, "mo_signed"))
    [(headers, body)] = await eventually(lambda: receiver.heard)
    assert headers["webhook-id"] == "mo_signed.received"
    verify(webhook_secret(server[1], "acme"), headers, body)
    assert json.loads(body) == {
        "type": "message.received",
        "timestamp": "2026-05-01T12:00:02Z",
        "data": {
            "id": "mo_signed",
            "channel": "sms",
            "from": "+4520100000",
            "to": NUMBER,
            "text": "blåbær 💙",
            "parts": 1,
            "complete": True,
            "received_at": "2026-05-01T12:00:00Z",
            "carrier": "carrier",
            "keyword": "BLÅBÆR",
        },
    }


async def test_what_is_missing_and_what_is_no_text(ingress, receiver):
    await ingress.inbound(
        delivery(receiver.url, "mo_data", text="", data="/w==", parts=3, missing=(1, 3))
    )
    [(_, body)] = await eventually(lambda: receiver.heard)
    data = json.loads(body)["data"]
    assert (data["text"], data["data"], data["complete"]) == ("", "/w==", False)
    assert (data["parts"], data["missing"]) == (3, [1, 3])


async def test_repeated_until_it_is_taken(server, ingress, receiver):
    receiver.statuses = [500, 302, 429]
    await ingress.inbound(delivery(receiver.url, "mo_repeated"))
    await eventually(lambda: len(receiver.heard) == 4)
    assert {headers["webhook-id"] for headers, _ in receiver.heard} == {"mo_repeated.received"}
    await done(server, "mo_repeated")
    assert len(receiver.heard) == 4


async def test_handed_over_twice_is_told_once(server, ingress, receiver):
    """As after a crash between the handing over and its mark: long after the first is told."""
    await ingress.inbound(delivery(receiver.url, "mo_twice"))
    await done(server, "mo_twice")
    await ingress.inbound(delivery(receiver.url, "mo_twice"))
    await ingress.inbound(delivery(receiver.url, "mo_other"))
    await done(server, "mo_other")
    told = [json.loads(body)["data"]["id"] for _, body in receiver.heard]
    assert told == ["mo_twice", "mo_other"]


async def test_a_tenant_that_is_not_known_yet_is_waited_for(server, ingress, receiver):
    await ingress.inbound(delivery(receiver.url, "mo_early", "late"))
    await failing(server, "mo_early")
    create_tenant(server[1], "late")
    [(headers, body)] = await eventually(lambda: receiver.heard)
    verify(webhook_secret(server[1], "late"), headers, body)


async def test_after_the_last_attempt_it_waits_for_a_person(server, ingress, receiver):
    """The address may not be called, and is not; the message is still there."""
    await ingress.inbound(delivery("ftp://example.com/", "mo_paused"))
    await eventually(lambda: status(server, "mo_paused") == "paused", pause=0.05)


async def test_the_door_takes_nothing_else(server):
    async with httpx.AsyncClient() as http:
        for body in (b"", b"{}", b'{"id": 1}', b"\xff"):
            answer = await http.post(f"{server[0].ingress}/Inbound/deliver", content=body)
            assert answer.status_code == 400


async def test_from_the_carrier_to_the_tenant(server, ingress, receiver, process, carrier):
    """The whole way: a socket, the journal, a restart, Restate, the tenant's endpoint."""
    routes = Routes([InboundRoute(NUMBER, None, "acme", receiver.url)])
    hermes = await process(sink=ingress, routes=routes)
    long = "".join(chr(ord("a") + n % 26) for n in range(500))
    *most, last = messages(long)
    await carrier.deliver(*reversed(most), *messages("short"))
    await eventually(lambda: len(receiver.heard) == 1)
    await hermes.close()
    hermes = await process(sink=ingress, routes=routes)
    assert await carrier.deliver(last, *most) == [0] * 4
    await eventually(lambda: len(receiver.heard) == 2)
    await eventually(lambda: not hermes.inbound.in_hand)
    assert [json.loads(body)["data"]["text"] for _, body in receiver.heard] == ["short", long]
    assert await hermes.waiting() == []
