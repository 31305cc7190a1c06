"""Status callbacks: signed, sent once, and only to where a tenant may reach."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from adapters.callbacks.sender import (
    CallbackForbidden,
    CallbackHeldUp,
    CallbackRefused,
    CallbackSender,
    sign,
)
from adapters.egress import ForbiddenAddress, refuse_private
from adapters.resolution import AT_ONCE, THREADS, Lookup, PublicResolver, Resolver
from adapters.store.tenants import create_tenant, webhook_secret
from tests.cascade.signature import verify
from tests.waiting import eventually

BODY = b'{"type":"message.delivered"}'


class Receiver:
    """A tenant's endpoint: answers with `status`, and remembers what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.url = ""
        self.retry_after: str | None = None

    async def hear(self, request: web.Request) -> web.Response:
        headers = {name.lower(): text for name, text in request.headers.items()}
        self.requests.append((request.path, headers, await request.read()))
        where = {"location": f"{self.url}/elsewhere"} if 300 <= self.status < 400 else {}
        if self.retry_after is not None:
            where["retry-after"] = self.retry_after
        return web.Response(status=self.status, headers=where)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", receiver.hear)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield receiver
    await runner.cleanup()


@pytest.fixture
async def sender_that(tmp_path: Path) -> AsyncIterator[Callable[[bool], CallbackSender]]:
    made: list[CallbackSender] = []
    create_tenant(tmp_path / "hermes.db", "acme")

    def make(allow_private: bool) -> CallbackSender:
        made.append(CallbackSender(tmp_path / "hermes.db", allow_private=allow_private))
        return made[-1]

    yield make
    for sender in made:
        await sender.close()


async def test_the_receiver_can_check_the_signature(
    sender_that: Callable[[bool], CallbackSender], receiver: Receiver, tmp_path: Path
):
    await sender_that(True).post("acme", f"{receiver.url}/told", "msg_1.ended", BODY)
    ((path, headers, body),) = receiver.requests
    assert (path, body, headers["webhook-id"]) == ("/told", BODY, "msg_1.ended")
    assert headers["content-type"] == "application/json"
    verify(webhook_secret(tmp_path / "hermes.db", "acme"), headers, body)


def test_the_signature_of_the_standards_own_example():
    # https://github.com/standard-webhooks/standard-webhooks, the libraries' shared test vector
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 410, 429, 500, 503])
async def test_only_2xx_is_success_and_no_redirect_is_followed(
    sender_that: Callable[[bool], CallbackSender], receiver: Receiver, status: int
):
    receiver.status = status
    with pytest.raises(CallbackRefused):
        await sender_that(True).post("acme", receiver.url, "id", BODY)
    assert len(receiver.requests) == 1


async def test_both_secrets_sign_while_one_takes_over(
    sender_that: Callable[[bool], CallbackSender], receiver: Receiver
):
    old, new = (f"whsec_{base64.b64encode(text).decode()}" for text in (b"o" * 32, b"n" * 32))
    assert await sender_that(True).send(receiver.url, (new, old), "id", BODY) == 200
    ((_, headers, body),) = receiver.requests
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (old, new):
        verify(secret, headers, body)
        Webhook(secret).verify(body, headers)


@pytest.mark.parametrize(
    ("status", "header", "expected"),
    [
        (429, "120", (429, 120.0, False)),
        (503, "0", (503, 0.0, False)),
        (503, "999999", (503, 3600.0, False)),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", (503, None, False)),
        (503, "1e9", (503, None, False)),
        (410, None, (410, None, True)),
    ],
)
async def test_what_a_refusal_asks_for(
    sender_that: Callable[[bool], CallbackSender],
    receiver: Receiver,
    status: int,
    header: str | None,
    expected: tuple[int, float | None, bool],
):
    receiver.status, receiver.retry_after = status, header
    with pytest.raises(CallbackRefused) as refused:
        await sender_that(True).post("acme", receiver.url, "id", BODY)
    said = refused.value
    assert (said.status, said.retry_after, said.gone) == expected


async def test_nobody_listens(sender_that: Callable[[bool], CallbackSender], receiver: Receiver):
    with pytest.raises(CallbackRefused):
        await sender_that(True).post("acme", "http://127.0.0.1:1/", "id", BODY)


async def test_an_unknown_tenant_is_not_tried_for_days(
    sender_that: Callable[[bool], CallbackSender], receiver: Receiver
):
    with pytest.raises(CallbackForbidden):
        await sender_that(True).post("nobody", receiver.url, "id", BODY)
    assert receiver.requests == []


MALFORMED = ["", "/told", "ftp://example.com/", "file:///etc/passwd", "https://", "https://["]


@pytest.mark.parametrize("url", MALFORMED)
@pytest.mark.parametrize("allow_private", [True, False])
async def test_a_malformed_url_is_not_tried_for_days(
    sender_that: Callable[[bool], CallbackSender], url: str, allow_private: bool
):
    with pytest.raises(CallbackForbidden):
        await sender_that(allow_private).post("acme", url, "id", BODY)


PRIVATE_HOSTS = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "0",
    "0.0.0.0",
    "\uff11\uff12\uff17.0.0.1",
    "\u2460\u2461\u2466.0.0.1",
    "127\u30020\u30020\u30021",
    "localhost",
    "LOCALHOST",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::192.0.0.192]",
    "[fec0::1]",
    "[3fff::1]",
    "[64:ff9b:1::7f00:1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::10.0.0.1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[fc00::1]",
    "[fd12::1]",
    "[ff02::1]",
    "[2001:db8::1]",
    "user:secret@127.0.0.1",
    "example.com@127.0.0.1",
]


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
async def test_a_private_address_is_refused_by_every_spelling(
    sender_that: Callable[[bool], CallbackSender], receiver: Receiver, host: str
):
    port = receiver.url.rpartition(":")[2]
    with pytest.raises(CallbackForbidden):
        await sender_that(False).post("acme", f"https://{host}:{port}/", "id", BODY)
    assert receiver.requests == []


async def test_plain_http_is_refused(sender_that: Callable[[bool], CallbackSender]):
    with pytest.raises(CallbackForbidden):
        await sender_that(False).post("acme", "http://example.com/", "id", BODY)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07::1", "64:ff9b::808:808"]
)
def test_a_public_address_is_allowed(address: str):
    refuse_private(address)


async def test_a_name_with_a_private_address_is_refused():
    with pytest.raises(ForbiddenAddress):
        await PublicResolver().resolve("localhost", 443)


def lookup_of(found: dict[str, list[str]], asked: list[str]) -> Lookup:
    """A lookup that answers what it is told to, and for the other names never."""

    async def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        if host not in found:
            await asyncio.Event().wait()
        return found[host]

    return lookup


@pytest.fixture
async def sender_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., CallbackSender]]:
    made: list[CallbackSender] = []

    def make(found: dict[str, list[str]], asked: list[str] | None = None) -> CallbackSender:
        lookup = lookup_of(found, [] if asked is None else asked)
        names = Resolver(lookup, lambda address: None)
        monkeypatch.setattr("adapters.callbacks.sender.Resolver", lambda check: names)
        made.append(CallbackSender(tmp_path / "hermes.db", allow_private=True))
        return made[-1]

    yield make
    for sender in made:
        await sender.close()


async def sent(sender: CallbackSender, url: str, tenant: str) -> object:
    secret = f"whsec_{base64.b64encode(b'k' * 32).decode()}"
    try:
        return await sender.send(url, (secret,), "id", BODY, tenant=tenant)
    except CallbackRefused as refused:
        return type(refused), str(refused)


async def test_names_that_nobody_answers_for_hold_up_their_tenant_alone(
    sender_with: Callable[..., CallbackSender],
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("adapters.callbacks.sender._TURN_WITHIN", 0.05)
    asked: list[str] = []
    sender = sender_with({"good.example": ["127.0.0.1"]}, asked)
    port = receiver.url.rpartition(":")[2]
    silent = [
        asyncio.create_task(sent(sender, f"http://silent{number}.example/", "acme"))
        for number in range(AT_ONCE + 2)
    ]
    await eventually(lambda: len(asked) == AT_ONCE)
    for _ in range(2):
        assert await sent(sender, f"http://good.example:{port}/", "globex") == 200
    # What was found is what is called: nobody asks again.
    assert asked.count("good.example") == 1
    # The tenant's own wait in our queue is told apart from a receiver that does not answer.
    done, _ = await asyncio.wait(silent, timeout=2)
    assert {task.result() for task in done} == {
        (CallbackHeldUp, "too many hosts are being looked up")
    }
    assert len(done) == 2
    for task in silent:
        task.cancel()
    await asyncio.gather(*silent, return_exceptions=True)


async def test_lookups_of_many_tenants_leave_a_receiver_without_blame(
    sender_with: Callable[..., CallbackSender], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("adapters.callbacks.sender._TURN_WITHIN", 0.05)
    asked: list[str] = []
    sender = sender_with({"good.example": ["127.0.0.1"]}, asked)
    silent = [
        asyncio.create_task(sent(sender, f"http://silent{number}.example/", f"tenant{number}"))
        for number in range(THREADS)
    ]
    await eventually(lambda: len(asked) == THREADS)
    refused, _ = await sent(sender, "http://good.example/", "globex")
    assert refused is CallbackHeldUp
    for task in silent:
        task.cancel()
    await asyncio.gather(*silent, return_exceptions=True)


async def test_name_servers_that_do_not_answer_are_the_receivers_failure(
    sender_with: Callable[..., CallbackSender], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("adapters.callbacks.sender._NAMED_WITHIN", 0.05)
    sender = sender_with({"nobody.example": []})
    for host, said in (
        ("silent.example", "the host's name servers do not answer"),
        ("nobody.example", "the host was not found"),
    ):
        assert await sent(sender, f"http://{host}/", "acme") == (CallbackRefused, said)


@pytest.mark.parametrize("host", ["inner.example", "10.96.14.7", "[fd12::7]"])
async def test_what_a_forbidden_name_stands_for_is_not_told(
    sender_that: Callable[[bool], CallbackSender], monkeypatch: pytest.MonkeyPatch, host: str
):
    def found(*_args: object, **_options: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.96.14.7", 443))]

    monkeypatch.setattr("socket.getaddrinfo", found)
    with pytest.raises(CallbackForbidden) as forbidden:
        await sender_that(False).post("acme", f"https://{host}/", "id", BODY)
    assert str(forbidden.value) == "the host has an address that is not public"
