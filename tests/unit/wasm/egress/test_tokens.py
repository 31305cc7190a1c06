"""Access tokens of Google: asked for as RFC 7523 says, kept, and asked for by one at a time."""

import asyncio
import json
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from adapters.wasm.contract import HttpError, HttpRequest
from adapters.wasm.egress.tokens import EARLY, REFUSAL_KEPT, YOUNGEST_DROPPED
from tests.unit.wasm.egress.conftest import DROP, HOST, SILENCE, URL, Provider, answer, google
from tests.waiting import eventually

GOOGLE = "oauth2.googleapis.com"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def account(**changes):
    """What Google's console gives out. Its token_uri is a trap."""
    given = {
        "type": "service_account",
        "project_id": "demo",
        "private_key_id": "k1",
        "private_key": pem(RSA),
        "client_email": "hermes@demo.iam.gserviceaccount.com",
        "token_uri": "https://evil.example.com/token",
        **changes,
    }
    return json.dumps({key: value for key, value in given.items() if value is not None})


ACCOUNT = account()


def granted(token, expires_in=3600):
    said = {"access_token": token, "expires_in": expires_in, "token_type": "Bearer"}
    return answer(json.dumps(said).encode(), "content-type: application/json; charset=UTF-8")


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def tokens(server_tls):
    server = await Provider().start(server_tls)
    numbers = iter(range(1, 10_000))
    server.answers = [lambda request: granted(f"ya29.token-{next(numbers)}")]
    yield server
    await server.stop()


@pytest.fixture
def push(egress_with, provider, tokens, clock, installed):
    """Makes one request with a token, and gives the answer."""
    ways = {
        HOST: f"https://127.0.0.1:{provider.port}",
        GOOGLE: f"https://127.0.0.1:{tokens.port}",
    }
    egress = egress_with(ways, clock=clock)

    async def make(
        secret=ACCOUNT, tenant="acme", url=URL, value="Bearer {{token:firebase}}", **more
    ):
        adapter = installed(secrets={"service_account": secret}, tokens=google(), **more)
        return await egress.port(adapter).send(
            HttpRequest("POST", url, (("authorization", value),))
        )

    return make


def used(provider):
    return [dict(headers).get("authorization") for _, headers, _ in provider.requests]


async def test_a_token_is_asked_for_as_google_says(push, provider, tokens, clock):
    assert (await push()).status == 200
    assert used(provider) == ["Bearer ya29.token-1"]
    first, headers, body = tokens.last
    assert first == "POST /token HTTP/1.1"
    assert dict(headers)["host"] == GOOGLE
    assert dict(headers)["content-type"] == "application/x-www-form-urlencoded"
    form = parse_qs(body.decode(), strict_parsing=True)
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    (assertion,) = form["assertion"]
    assert jwt.get_unverified_header(assertion) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    claims = jwt.decode(
        assertion,
        RSA.public_key(),
        algorithms=["RS256"],
        audience="https://oauth2.googleapis.com/token",
        options={"verify_iat": False, "verify_exp": False},
    )
    assert claims == {
        "iss": "hermes@demo.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/x",
        "aud": "https://oauth2.googleapis.com/token",
        "iat": int(clock.now),
        "exp": int(clock.now) + 3600,
    }


async def test_a_token_is_kept_until_shortly_before_its_end(push, provider, tokens, clock):
    for passed, fetched in [(0, 1), (3600 - EARLY - 1, 1), (1, 2), (3600 - EARLY, 3)]:
        clock.now += passed
        await push()
        assert len(tokens.requests) == fetched
        assert used(provider)[-1] == f"Bearer ya29.token-{fetched}"


async def test_a_token_with_a_short_life_is_kept_for_half_of_it(push, tokens, clock):
    tokens.answers = [granted("ya29.short", expires_in=60)]
    for passed, fetched in [(0, 1), (29, 1), (2, 2)]:
        clock.now += passed
        await push()
        assert len(tokens.requests) == fetched


async def test_many_at_once_ask_once(push, tokens):
    said = await asyncio.gather(*[push() for _ in range(50)])
    assert {one.status for one in said} == {200}
    assert len(tokens.requests) == 1


async def test_one_who_gives_up_takes_nobody_with_him(push, tokens):
    gate = asyncio.Event()

    calls = [asyncio.create_task(push()) for _ in range(3)]
    await eventually(lambda: tokens.requests)
    calls[0].cancel()
    gate.set()
    assert [(await call).status for call in calls[1:]] == [200, 200]
    assert len(tokens.requests) == 1


async def test_each_account_and_scope_has_its_own(push, provider, tokens):
    await push()
    await push(secret=account(client_email="other@demo.iam.gserviceaccount.com"))
    await push()
    assert used(provider) == [f"Bearer ya29.token-{n}" for n in (1, 2, 1)]


async def test_in_a_url(push, provider):
    await push(url=f"{URL}?access_token={{{{token:firebase}}}}", value="x")
    assert provider.last[0] == "POST /v1/messages?access_token=ya29.token-1 HTTP/1.1"


async def test_a_token_in_an_answer_is_masked(push, provider):
    provider.answers = [answer(b"bad token ya29.token-1", status="401 Unauthorized")]
    assert (await push()).body == "bad token [secret]"


async def test_a_token_that_is_refused_is_dropped(push, provider, tokens, clock):
    await push()
    clock.now += YOUNGEST_DROPPED
    provider.answers = [answer(status="401 Unauthorized"), answer()]
    assert [(await push()).status for _ in range(2)] == [401, 200]
    assert used(provider) == [f"Bearer ya29.token-{n}" for n in (1, 1, 2)]


async def test_a_provider_that_refuses_every_token_costs_no_storm(push, provider, tokens, clock):
    provider.answers = [answer(status="401 Unauthorized")]
    for _ in range(20):
        assert (await push()).status == 401
        clock.now += 1
    assert len(tokens.requests) == 1


@pytest.mark.parametrize("status", ["400 Bad", "403 Forbidden", "404 No", "500 No"])
async def test_another_refusal_drops_nothing(push, provider, tokens, clock, status):
    await push()
    clock.now += YOUNGEST_DROPPED
    provider.answers = [answer(status=status)]
    for _ in range(2):
        await push()
    assert len(tokens.requests) == 1


def refused(status, **said):
    return answer(json.dumps(said).encode(), status=status)


BAD = {
    "invalid_grant": (
        refused("400 Bad", error="invalid_grant", error_description="Invalid JWT Signature."),
        ("secret", "the token: oauth2.googleapis.com answered 400 invalid_grant"),
    ),
    "not a word": (
        refused("401 No", error="<b>ya29.x</b>"),
        ("secret", "the token: oauth2.googleapis.com answered 401"),
    ),
    "not JSON": (
        answer(b"<html>", status="403 No"),
        ("secret", "the token: oauth2.googleapis.com answered 403"),
    ),
    "a list": (
        answer(b"[]", status="400 No"),
        ("secret", "the token: oauth2.googleapis.com answered 400"),
    ),
    "redirect": (
        answer(b"", f"location: https://{HOST}/", status="302 Found"),
        ("secret", "the token: oauth2.googleapis.com answered 302"),
    ),
    "429": (
        refused("429 Slow", error="rate_limited"),
        ("connect", "the token: oauth2.googleapis.com answered 429 rate_limited"),
    ),
    "503": (
        answer(b"", status="503 No"),
        ("connect", "the token: oauth2.googleapis.com answered 503"),
    ),
    "no token": (
        answer(b"{}"),
        ("malformed", "the token: oauth2.googleapis.com gave none"),
    ),
    "not utf-8": (
        answer(b"\xff"),
        ("malformed", "the token: oauth2.googleapis.com gave none"),
    ),
    "a token that ends the header": (
        granted("a\r\nb: c"),
        ("malformed", "the token: oauth2.googleapis.com gave none"),
    ),
    "an empty token": (
        granted(""),
        ("malformed", "the token: oauth2.googleapis.com gave none"),
    ),
    "cut": (DROP, ("reset", "the token: the connection ended before the answer")),
    "too much": (
        answer(b"x" * 70_000),
        ("too_large", "the token: the answer is over its limit of 65,536"),
    ),
}


@pytest.mark.parametrize(("said", "expected"), BAD.values(), ids=BAD.keys())
async def test_a_token_that_could_not_be_had(push, provider, tokens, clock, said, expected):
    good = tokens.answers
    tokens.answers = [said]
    for _ in range(3):
        # Google may have been asked; the provider was not.
        assert await push() == HttpError(*expected, maybe_sent=False)
    assert provider.connections == 0
    # Not a call for every message …
    assert len(tokens.requests) == 1
    # … and not for ever.
    clock.now += REFUSAL_KEPT
    tokens.answers = good
    assert (await push()).status == 200


ACCOUNTS = {
    "not JSON": ("hello", "it is not the JSON of a service account"),
    "a list": ("[]", "it is not the JSON of a service account"),
    "no e-mail": (account(client_email=None), "it is not the JSON of a service account"),
    "no key": (account(private_key=None), "it is not the JSON of a service account"),
    "not PEM": (account(private_key="secret stuff"), "its private_key cannot be read"),
    "half": (account(private_key=pem(RSA)[:300]), "its private_key cannot be read"),
    "surrogate": (account(private_key="\ud800"), "it is not the JSON of a service account"),
    "not RSA": (
        account(private_key=pem(ec.generate_private_key(ec.SECP256R1()))),
        "its private_key is not RSA",
    ),
}


@pytest.mark.parametrize(("given", "why"), ACCOUNTS.values(), ids=ACCOUNTS.keys())
async def test_what_is_no_service_account(push, provider, tokens, given, why):
    assert await push(given) == HttpError("secret", f"the service account: {why}", maybe_sent=False)
    assert (provider.connections, tokens.connections) == (0, 0)


async def test_the_calls_time_counts(push, tokens):
    tokens.answers = [SILENCE]
    got = await push(http_timeout_ms=100)
    assert got == HttpError("timeout", "the token firebase did not come in time", False)


async def test_google_is_not_there(egress_with, installed, provider, clock):
    egress = egress_with(
        {HOST: f"https://127.0.0.1:{provider.port}", GOOGLE: "https://127.0.0.1:1"}, clock=clock
    )
    adapter = installed(secrets={"service_account": ACCOUNT}, tokens=google())
    request = HttpRequest("POST", URL, (("authorization", "Bearer {{token:firebase}}"),))
    got = await egress.port(adapter).send(request)
    assert (got.kind, got.maybe_sent, provider.connections) == ("connect", False, 0)


async def test_no_token_for_what_may_not_be_called(push, tokens):
    got = await push(url="https://evil.example.com/")
    assert (got.kind, tokens.connections) == ("forbidden", 0)
