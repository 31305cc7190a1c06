"""What a guest gets of a provider's answers, of all kinds, and of none."""

import asyncio
import gc
import gzip
import ssl
import weakref
import zlib

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.egress import ForbiddenAddress
from adapters.resolution import AT_ONCE
from adapters.wasm.contract import HttpError, HttpRequest, HttpResponse
from adapters.wasm.egress import Resolver
from adapters.wasm.egress.client import Origin
from adapters.wasm.egress.connection import MAX_HEAD, MAX_HEADERS, Connection
from adapters.wasm.egress.faults import HttpFault
from tests.certificates import Authority
from tests.unit.wasm.egress.conftest import DROP, HOST, OK, SILENCE, URL, Provider, answer
from tests.waiting import eventually


async def test_a_request_arrives_as_it_was_given(send, provider):
    said = await send(
        f"{URL}?a=b%20c",
        "PUT",
        [("Content-Type", "application/json"), ("X-Twice", "1"), ("X-Twice", "2")],
        '{"text":"på tide"}',
    )
    assert said == HttpResponse(200, (("content-length", "2"),), "ok")
    assert provider.last == (
        "PUT /v1/messages?a=b%20c HTTP/1.1",
        [
            ("host", HOST),
            ("accept-encoding", "identity"),
            ("user-agent", "Hermes"),
            ("content-type", "application/json"),
            ("x-twice", "1"),
            ("x-twice", "2"),
            ("content-length", "19"),
        ],
        '{"text":"på tide"}'.encode(),
    )


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "", "0"),
        ("PUT", "", "0"),
        ("PATCH", "", "0"),
        ("GET", "a", "1"),
        ("DELETE", "é", "2"),
    ],
)
async def test_methods(send, provider, method, body, length):
    assert (await send(method=method, body=body)).status == 200
    first, headers, heard = provider.last
    assert (first, heard) == (f"{method} /v1/messages HTTP/1.1", body.encode())
    assert dict(headers).get("content-length") == length


async def test_a_guest_frames_no_message(send, provider):
    headers = [
        ("Host", "evil.example.com"),
        ("Content-Length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close"),
        ("User-Agent", "mine"),
    ]
    await send(headers=headers, body="GET / HTTP/1.1\r\n\r\n")
    assert provider.last[1] == [
        ("host", HOST),
        ("accept-encoding", "identity"),
        ("user-agent", "mine"),
        ("content-length", "18"),
    ]


async def test_the_environments_proxies_are_not_asked(send, provider, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await send()).status == 200


async def test_cookies_are_not_kept(send, provider):
    provider.answers = [answer(b"", "set-cookie: a=b; path=/")]
    assert ("set-cookie", "a=b; path=/") in (await send()).headers
    await send()
    assert "cookie" not in dict(provider.last[1])


REDIRECTS = [
    ("301 Moved", "https://127.0.0.1/"),
    ("302 Found", f"https://{HOST}/elsewhere"),
    ("303 See Other", "http://169.254.169.254/latest/meta-data/"),
    ("307 Temporary", "//evil.example.com/"),
    ("308 Permanent", "/elsewhere"),
]


@pytest.mark.parametrize(("status", "location"), REDIRECTS)
async def test_a_redirect_is_an_answer(send, provider, status, location):
    provider.answers = [answer(b"", f"location: {location}", status=status)]
    said = await send()
    assert said.status == int(status[:3])
    assert ("location", location) in said.headers
    assert len(provider.requests) == 1


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
TEXT = b"text " * 1000
ANSWERS = {
    "empty": (answer(), (200, "")),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", (204, "")),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", (304, "")),
    "utf-8": (answer("på".encode()), (200, "på")),
    "not utf-8": (answer(b"p\xe5"), (200, "p\ufffd")),
    "chunked": (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n", (200, "abcde")),
    "interim": (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + answer(b"ab"), (200, "ab")),
    "continue": (b"HTTP/1.1 100 Continue\r\n\r\n" * 20 + answer(b"ab"), (200, "ab")),
    "500": (answer(b"no", status="500 No"), (500, "no")),
    "599": (answer(b"no", status="599 No"), (599, "no")),
    "gzip": (answer(gzip.compress(TEXT), "content-encoding: gzip"), (200, TEXT.decode())),
    "deflate": (answer(zlib.compress(TEXT), "content-encoding: Deflate"), (200, TEXT.decode())),
    "identity": (answer(TEXT, "content-encoding: identity"), (200, TEXT.decode())),
}


@pytest.mark.parametrize(("said", "expected"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_answers(send, provider, said, expected):
    provider.answers = [said]
    heard = await send()
    assert (heard.status, heard.body) == expected
    # The connection is as good as before.
    assert (await send()).status == expected[0]
    assert provider.connections == 1


CLOSING_ANSWERS = {
    "no length": (HEAD + b"\r\nall of it", (200, "all of it")),
    "http/1.0": (b"HTTP/1.0 200 OK\r\n\r\nall of it", (200, "all of it")),
    "said so": (answer(b"all of it", "connection: close"), (200, "all of it")),
    "no length, empty": (HEAD + b"\r\n", (200, "")),
}


@pytest.mark.parametrize(("said", "expected"), CLOSING_ANSWERS.values(), ids=CLOSING_ANSWERS.keys())
async def test_answers_that_end_their_connection(send, provider, said, expected):
    provider.answers, provider.closing = [said], True
    for connections in (1, 2):
        heard = await send()
        assert (heard.status, heard.body) == expected
        assert provider.connections == connections


BOMB = gzip.compress(b"\0" * 50_000_000)
FAULTS = {
    "cut before": (DROP, "reset"),
    "cut in the head": (HEAD, "reset"),
    "cut in the body": (HEAD + b"content-length: 9\r\n\r\nhalf", "reset"),
    "cut in a chunk": (CHUNKED + b"9\r\nhalf", "reset"),
    "cut between chunks": (CHUNKED + b"4\r\nhalf\r\n", "reset"),
    "cut after an interim": (b"HTTP/1.1 103 Early Hints\r\n\r\n", "reset"),
    "not http": (b"220 mail.example.com ESMTP\r\n", "malformed"),
    "garbage": (bytes(range(256)), "malformed"),
    "http/0.9": (b"<html>hello</html>", "malformed"),
    "http/2": (b"HTTP/2 200\r\n\r\n", "malformed"),
    "two lengths": (
        HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\nabc",
        "malformed",
    ),
    "length and chunks": (
        HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "malformed",
    ),
    "negative length": (HEAD + b"content-length: -1\r\n\r\n", "malformed"),
    "bad chunk": (CHUNKED + b"zz\r\n", "malformed"),
    "upgrade": (
        b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "malformed",
    ),
    "space before colon": (HEAD + b"a : b\r\n\r\n", "malformed"),
    "brotli": (answer(b"x", "content-encoding: br"), "malformed"),
    "twice compressed": (answer(BOMB, "content-encoding: gzip, gzip"), "malformed"),
    "broken gzip": (answer(b"x" * 20, "content-encoding: gzip"), "malformed"),
    "half of gzip": (answer(gzip.compress(TEXT)[:-9], "content-encoding: gzip"), "malformed"),
    "a bomb": (answer(BOMB, "content-encoding: gzip"), "too_large"),
    "a long body": (answer(b"x" * 100_001), "too_large"),
    "a long unframed body": (HEAD + b"\r\n" + b"x" * 100_001, "too_large"),
    "a long chunked body": (CHUNKED + b"61a80\r\n" + b"x" * 400_000, "too_large"),
    "crumbs": (CHUNKED + b"1;ffffffffffffffff\r\nx\r\n" * 60_000, "too_large"),
    "endless trailers": (CHUNKED + b"0\r\n" + b"a: b\r\n" * 200_000, "too_large"),
    "endless interim": (b"HTTP/1.1 103 Early\r\n\r\n" * 60_000, "too_large"),
    "a long header": (HEAD + b"a: " + b"x" * MAX_HEAD * 3, "too_large"),
    "a long head": (HEAD + b"a: " + b"x" * MAX_HEAD + b"\r\n\r\n", "too_large"),
    "many headers": (HEAD + b"a: b\r\n" * (MAX_HEADERS + 1) + b"\r\n", "too_large"),
}


@pytest.mark.parametrize(("said", "kind"), FAULTS.values(), ids=FAULTS.keys())
async def test_what_is_no_answer(send, provider, said, kind):
    provider.answers, provider.closing = [said], True
    got = await send(response_bytes=100_000)
    assert isinstance(got, HttpError)
    assert (got.kind, got.maybe_sent) == (kind, True)
    # It went no further, and was not tried again.
    assert len(provider.requests) == 1
    provider.answers, provider.closing = [OK], False
    assert (await send()).body == "ok"
    assert provider.connections == 2


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_every_loop_tells_the_same(run, authority, server_tls, installed, tmp_path):
    # Each has a TLS of its own, and errors of its own.
    from adapters.wasm.egress import Egress

    async def scenario():
        provider = await Provider().start(server_tls)
        trust = ssl.create_default_context(cafile=authority.file)
        ways = {HOST: f"https://127.0.0.1:{provider.port}", "x.example.com": "https://127.0.0.1:1"}
        egress = Egress(reroute=ways, trust=trust)
        adapter = installed(hosts=[HOST, "x.example.com"], response_bytes=100_000)
        for said, expected in CLOSING_ANSWERS.values():
            provider.answers, provider.closing = [said], True
            got = await egress.port(adapter).send(HttpRequest("GET", URL))
            assert (got.status, got.body) == expected
        for said, kind in FAULTS.values():
            provider.answers = [said]
            got = await egress.port(adapter).send(HttpRequest("GET", URL))
            assert (got.kind, got.maybe_sent) == (kind, True)
        provider.answers, provider.closing = [SILENCE], False
        got = await egress.port(adapter).send(HttpRequest("GET", URL, timeout_ms=50))
        assert (got.kind, got.maybe_sent) == ("timeout", True)
        got = await egress.port(adapter).send(HttpRequest("GET", "https://x.example.com/"))
        assert (got.kind, got.maybe_sent) == ("connect", False)
        strict = Egress(reroute=ways, trust=Authority(tmp_path).client_trust())
        got = await strict.port(adapter).send(HttpRequest("GET", URL))
        assert (got.kind, got.maybe_sent) == ("tls", False)
        for one in (egress, strict):
            await one.close()
        await provider.stop()

    run(scenario())


async def test_an_answer_of_the_most_bytes(send, provider):
    provider.answers = [answer(b"x" * 1000)]
    assert len((await send(response_bytes=1000)).body) == 1000
    assert (await send(response_bytes=999)).kind == "too_large"


async def test_reading_stops_where_the_limit_is(send, provider):
    # The rest is not waited for: it never comes.
    provider.answers = [HEAD + b"content-length: 9999999\r\n\r\n" + b"x" * 2_000]
    assert (await send(response_bytes=1_000)).kind == "too_large"
    await eventually(lambda: provider.open == 0)


async def test_what_comes_unasked_is_nobodys_answer(send, provider):
    provider.answers = [answer(b"mine") + answer(b"smuggled"), OK]
    assert (await send()).body == "mine"
    await eventually(lambda: provider.open == 0)
    assert (await send()).body == "ok"


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    said=st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from(
                [
                    *(b"HTTP/1.1 200 OK", b"\r\n", b"\n", b"content-length: 3", b"abc", b"0"),
                    *(b"3", b":", b"transfer-encoding: chunked", b"content-encoding: gzip"),
                    b"HTTP/1.1 100 C",
                ]
            ),
            max_size=20,
        ).map(b"".join),
    )
)
def test_any_bytes_are_an_answer_or_a_fault(said, authority, server_tls, installed):
    from adapters.wasm.egress import Egress

    async def scenario():
        provider = await Provider().start(server_tls)
        provider.answers, provider.closing = [said], True
        trust = ssl.create_default_context(cafile=authority.file)
        egress = Egress(reroute={HOST: f"https://127.0.0.1:{provider.port}"}, trust=trust)
        got = await egress.port(installed()).send(HttpRequest("GET", URL))
        await egress.close()
        await provider.stop()
        return got

    got = asyncio.run(scenario())
    if isinstance(got, HttpError):
        assert got.kind in {"reset", "malformed", "too_large"}
        assert got.maybe_sent
    else:
        assert said.lstrip().startswith(b"HTTP/1.")


async def test_each_call_gets_its_own_answer(send, provider):
    provider.answers = [lambda request: answer(request[2])]
    bodies = [f"call {number}" for number in range(200)]
    said = await asyncio.gather(*[send(body=body) for body in bodies])
    assert [one.body for one in said] == bodies


# Limits of one call


async def test_the_calls_are_counted(egress, installed, provider):
    port = egress.port(installed(http_calls=2))
    request = HttpRequest("GET", URL)
    assert [(await port.send(request)).status for _ in range(2)] == [200, 200]
    for _ in range(2):
        refused = await port.send(request)
        assert (refused.kind, refused.maybe_sent) == ("limit", False)
    assert len(provider.requests) == 2
    assert (await egress.port(installed(http_calls=2)).send(request)).status == 200


async def test_no_calls_at_all(send, provider):
    assert (await send(http_calls=0)).kind == "limit"
    assert provider.connections == 0


async def test_refused_calls_count_too(egress, installed):
    port = egress.port(installed(http_calls=1))
    assert (await port.send(HttpRequest("GET", "http://x/"))).kind == "forbidden"
    assert (await port.send(HttpRequest("GET", URL))).kind == "limit"


@pytest.mark.parametrize(("body", "kind"), [("x" * 100, None), ("x" * 101, 1), ("é" * 51, 1)])
async def test_the_most_bytes_of_a_request(send, provider, body, kind):
    got = await send(body=body, request_bytes=100)
    if kind:
        assert (got.kind, got.maybe_sent, provider.requests) == ("too_large", False, [])
    else:
        assert got.status == 200


async def test_the_most_bytes_of_a_head(send, provider):
    got = await send(headers=[(f"x-{n}", "y" * 1_000) for n in range(40)])
    assert (got.kind, got.maybe_sent, provider.requests) == ("too_large", False, [])


# Time


async def test_no_answer_in_time(send, provider):
    provider.answers = [SILENCE]
    got = await send(timeout_ms=50)
    assert (got.kind, got.maybe_sent) == ("timeout", True)
    await eventually(lambda: provider.open == 0)


async def test_half_an_answer_in_time(send, provider):
    provider.answers = [HEAD + b"content-length: 9\r\n\r\nhalf"]
    got = await send(timeout_ms=50)
    assert (got.kind, got.maybe_sent) == ("timeout", True)


async def test_the_manifests_time_is_the_longest(send, provider):
    provider.answers = [SILENCE]
    got = await send(timeout_ms=600_000, http_timeout_ms=100)
    assert (got.kind, got.maybe_sent) == ("timeout", True)


async def test_a_call_that_is_given_up_leaves_no_connection(send, provider):
    provider.answers = [SILENCE]
    call = asyncio.create_task(send())
    await eventually(lambda: provider.requests)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually(lambda: provider.open == 0)


# No connection


@pytest.fixture
async def mute():
    """Listens, takes connections, and says nothing: no handshake ever ends."""
    server = await asyncio.start_server(lambda reader, writer: reader.read(), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


def ask(egress, installed, url=URL, **adapter):
    return egress.port(installed(**adapter)).send(HttpRequest("POST", url, body="x"))


async def test_nobody_listens(egress_with, installed):
    got = await ask(egress_with({HOST: "https://127.0.0.1:1"}), installed)
    assert (got.kind, got.maybe_sent) == ("connect", False)
    assert got.message == f"no connection to {HOST}: Connection refused"


async def test_no_handshake_in_time(egress_with, installed, mute):
    egress = egress_with({HOST: f"https://127.0.0.1:{mute}"})
    got = await ask(egress, installed, http_timeout_ms=100)
    assert (got.kind, got.maybe_sent) == ("timeout", False)


async def test_the_connection_is_cut_in_the_handshake(egress_with, installed):
    async def cut(reader, writer):
        writer.transport.abort()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    got = await ask(egress_with({HOST: f"https://127.0.0.1:{port}"}), installed)
    assert got.kind in {"connect", "tls"}
    assert not got.maybe_sent
    server.close()


async def test_not_tls(egress_with, installed):
    async def talk(reader, writer):
        writer.write(b"HTTP/1.1 400 This is plain HTTP\r\n\r\n")

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    got = await ask(egress_with({HOST: f"https://127.0.0.1:{port}"}), installed)
    assert (got.kind, got.maybe_sent) == ("tls", False)
    server.close()


async def test_a_certificate_of_nobodys(egress_with, installed, provider, tmp_path):
    trust = ssl.create_default_context(cafile=Authority(tmp_path).file)
    egress = egress_with({HOST: f"https://127.0.0.1:{provider.port}"}, trust=trust)
    got = await ask(egress, installed)
    assert (got.kind, got.maybe_sent, provider.requests) == ("tls", False, [])


async def test_a_certificate_of_another_host(egress_with, installed, provider):
    egress = egress_with({"other.example.com": f"https://127.0.0.1:{provider.port}"})
    got = await ask(egress, installed, "https://other.example.com/", hosts=["other.example.com"])
    assert (got.kind, got.maybe_sent, provider.requests) == ("tls", False, [])


# Addresses


def lookup_of(*answers):
    """A lookup that gives each of the answers in turn, and the names that it was asked for."""
    asked = []

    async def lookup(host, port):
        asked.append((host, port))
        found = answers[min(len(asked), len(answers)) - 1]
        if isinstance(found, Exception):
            raise found
        return found

    return lookup, asked


PRIVATE = [
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.0.1"),
    *("169.254.169.254", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "255.255.255.255"),
    *("::1", "::", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::7f00:1", "2002:7f00:1::"),
    *("fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
]


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_with_a_private_address_is_not_called(egress_with, installed, address):
    for found in ([address], ["93.184.215.14", address], [address, "93.184.215.14"]):
        lookup, _ = lookup_of(found)
        got = await ask(egress_with(resolver=Resolver(lookup)), installed)
        assert got == HttpError("forbidden", f"{HOST} has an address that is not public", False)


async def test_the_systems_resolver_finds_localhost_and_it_is_refused(egress_with, installed):
    # No manifest can name it; its address is refused all the same.
    with pytest.raises(Exception, match="not public") as caught:
        await Resolver().addresses("localhost", 443)
    assert caught.value.kind == "forbidden"


@pytest.mark.parametrize(
    "found", [OSError("no"), UnicodeError("label too long"), []], ids=["error", "label", "none"]
)
async def test_a_name_that_is_not_found(egress_with, installed, found):
    lookup, _ = lookup_of(found)
    got = await ask(egress_with(resolver=Resolver(lookup)), installed)
    assert got == HttpError("dns", f"{HOST} was not found", False)


async def test_a_lookup_that_never_ends(egress_with, installed):
    async def lookup(host, port):
        await asyncio.Event().wait()

    egress = egress_with(resolver=Resolver(lookup))
    got = await ask(egress, installed, http_timeout_ms=100)
    assert (got.kind, got.maybe_sent) == ("timeout", False)


async def test_the_address_that_was_checked_is_the_one_called(egress_with, installed, provider):
    # The name changes its answer between being checked and being called: it is asked once.
    lookup, asked = lookup_of(["127.0.0.1"], ["127.0.0.2"])
    checked = []
    egress = egress_with(resolver=Resolver(lookup, checked.append))
    url = f"https://{HOST}:{provider.port}/"
    for _ in range(3):
        provider.closing = True
        assert (await ask(egress, installed, url, hosts=[f"{HOST}:{provider.port}"])).status == 200
    assert checked == ["127.0.0.1"]
    assert asked == [(HOST, provider.port)]
    assert provider.connections == 3


async def test_a_name_that_re_resolves_to_loopback(egress_with, installed, provider, monkeypatch):
    def check(address):
        if address == "127.0.0.2":
            raise ForbiddenAddress(address)

    monkeypatch.setattr("adapters.resolution.KEPT", 0.0)
    lookup, asked = lookup_of(["127.0.0.1"], ["127.0.0.2"])
    egress = egress_with(resolver=Resolver(lookup, check))
    url = f"https://{HOST}:{provider.port}/"
    provider.closing = True
    assert (await ask(egress, installed, url, hosts=[f"{HOST}:{provider.port}"])).status == 200
    for _ in range(2):
        got = await ask(egress, installed, url, hosts=[f"{HOST}:{provider.port}"])
        assert (got.kind, got.maybe_sent) == ("forbidden", False)
    # What was refused is asked about again: nothing of it is kept.
    assert len(asked) == 3
    assert provider.connections == 1


async def test_the_next_address_is_tried(egress_with, installed, provider):
    lookup, _ = lookup_of(["127.0.0.9", "127.0.0.1"])
    egress = egress_with(resolver=Resolver(lookup, lambda address: None))
    url = f"https://{HOST}:{provider.port}/"
    assert (await ask(egress, installed, url, hosts=[f"{HOST}:{provider.port}"])).status == 200


async def test_many_at_once_ask_once(egress_with, installed, provider):
    lookup, asked = lookup_of(["127.0.0.1"])
    egress = egress_with(resolver=Resolver(lookup, lambda address: None))
    url = f"https://{HOST}:{provider.port}/"
    calls = [ask(egress, installed, url, hosts=[f"{HOST}:{provider.port}"]) for _ in range(50)]
    assert {said.status for said in await asyncio.gather(*calls)} == {200}
    assert len(asked) == 1


async def test_names_that_nobody_answers_for_hold_up_their_tenant_alone():
    asked = []

    async def lookup(host, port):
        asked.append(host)
        if host.startswith("silent"):
            await asyncio.Event().wait()
        return ["127.0.0.1"]

    resolver = Resolver(lookup, lambda address: None)
    lost = [
        asyncio.create_task(resolver.addresses(f"silent-{number}.example.com", 443, "acme"))
        for number in range(AT_ONCE + 20)
    ]
    await eventually(lambda: len(asked) == AT_ONCE)
    assert await resolver.addresses("api.example.com", 443, "other") == ("127.0.0.1",)
    # What is known costs no turn, whoever asks.
    assert await resolver.addresses("api.example.com", 443, "acme") == ("127.0.0.1",)
    assert len(asked) == AT_ONCE + 1
    for task in lost:
        task.cancel()
    await asyncio.gather(*lost, return_exceptions=True)
    await resolver.close()
    assert await resolver.addresses("new.example.com", 443, "acme") == ("127.0.0.1",)


# Connections


async def test_connections_are_kept(send, provider):
    for _ in range(5):
        await send()
    assert (provider.connections, len(provider.requests)) == (1, 5)


async def test_tenants_share_no_connection(send, provider):
    for tenant in ("acme", "other", "acme", "other"):
        await send(tenant=tenant)
    assert provider.connections == 2


async def test_a_connection_that_the_provider_closed_is_not_used(send, provider):
    provider.closing = True
    await send()
    await eventually(lambda: provider.open == 0)
    assert (await send()).status == 200


async def test_an_idle_connection_grows_old(send, provider, monkeypatch):
    monkeypatch.setattr("adapters.wasm.egress.client.KEPT_ALIVE", 0.02)
    await send()
    await eventually(lambda: provider.open == 0)
    await send()
    assert provider.connections == 2


async def test_a_connection_that_ended_leaves_no_garbage(send, provider, monkeypatch):
    """What the collector would find, it may find hours later, with all that hangs on it."""
    monkeypatch.setattr("adapters.wasm.egress.client.KEPT_ALIVE", 0.02)
    begun, made = Connection.connection_made, []

    def noted(self, transport):
        made.append(weakref.ref(self))
        begun(self, transport)

    monkeypatch.setattr(Connection, "connection_made", noted)
    gc.collect()
    gc.disable()
    try:
        await send()
        await eventually(lambda: made[0]() is None)
    finally:
        gc.enable()


async def test_more_calls_than_connections_wait_for_one(send, provider, monkeypatch):
    monkeypatch.setattr("adapters.wasm.egress.client.MAX_CONNECTIONS", 3)
    said = await asyncio.gather(*[send() for _ in range(40)])
    assert {one.status for one in said} == {200}
    assert provider.connections == 3


async def test_who_waits_for_a_connection_has_sent_nothing(send, provider, monkeypatch):
    monkeypatch.setattr("adapters.wasm.egress.client.MAX_CONNECTIONS", 1)
    provider.answers = [SILENCE, OK]
    first = asyncio.create_task(send(timeout_ms=300))
    await eventually(lambda: provider.requests)
    second = await send(timeout_ms=30)
    assert (second.kind, second.maybe_sent) == ("timeout", False)
    assert (await first).maybe_sent
    # Its place is free again.
    assert (await send()).status == 200


async def test_all_tenants_together_have_so_many_connections(
    egress_with, installed, provider, monkeypatch
):
    monkeypatch.setattr("adapters.wasm.egress.client.MAX_ALL", 3)
    egress = egress_with({HOST: f"https://127.0.0.1:{provider.port}"})
    tenants = [f"tenant-{number}" for number in range(8)]
    most = 0

    async def call(tenant):
        nonlocal most
        said = await ask(egress, installed, tenant=tenant)
        most = max(most, provider.open)
        return said.status

    said = await asyncio.gather(*[call(tenant) for tenant in tenants * 5])
    assert set(said) == {200}
    assert most <= 3
    # An idle one gives way at once.
    assert [await call(tenant) for tenant in tenants] == [200] * 8


async def test_who_waits_for_others_connections_has_sent_nothing(
    egress_with, installed, provider, monkeypatch
):
    monkeypatch.setattr("adapters.wasm.egress.client.MAX_ALL", 1)
    egress = egress_with({HOST: f"https://127.0.0.1:{provider.port}"})
    provider.answers = [SILENCE, OK]
    first = asyncio.create_task(ask(egress, installed, tenant="acme", http_timeout_ms=300))
    await eventually(lambda: provider.requests)
    second = await ask(egress, installed, tenant="other", http_timeout_ms=100)
    assert (second.kind, second.maybe_sent) == ("timeout", False)
    assert (await first).maybe_sent
    assert (await ask(egress, installed, tenant="other")).status == 200


async def test_nothing_is_written_after_the_deadline(egress, installed, provider):
    client, loop = egress._client, asyncio.get_running_loop()
    origin = Origin("acme", HOST, 443)
    request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
    await client.exchange(origin, request, cap=10, deadline=loop.time() + 5)
    # A connection is there, and nothing would have to be waited for.
    with pytest.raises(HttpFault) as late:
        await client.exchange(origin, request, cap=10, deadline=loop.time())
    assert (late.value.kind, late.value.told().maybe_sent) == ("timeout", False)
    assert len(provider.requests) == 1


async def test_closing_ends_what_is_under_way(egress, installed, provider):
    provider.answers = [SILENCE]
    call = asyncio.create_task(ask(egress, installed))
    await eventually(lambda: provider.requests)
    await egress.close()
    got = await call
    assert (got.kind, got.maybe_sent) == ("reset", True)


# Rerouting


async def test_a_host_is_rerouted_without_tls(egress_with, installed):
    provider = await Provider().start(None)
    egress = egress_with({HOST: f"http://127.0.0.1:{provider.port}"})
    assert (await ask(egress, installed)).status == 200
    assert dict(provider.last[1])["host"] == HOST
    # Every other rule stays.
    for url in (f"http://{HOST}/", f"http://127.0.0.1:{provider.port}/", f"https://{HOST}:8443/"):
        assert (await ask(egress, installed, url)).kind == "forbidden"
    await provider.stop()


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:80", "ftp://x", "http://", "http://a/b", "http://a:b"]
)
async def test_a_reroute_that_is_none(egress_with, url):
    with pytest.raises(ValueError, match=r"."):
        egress_with({HOST: url})
