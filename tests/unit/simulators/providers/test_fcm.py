"""The FCM stand-in: access tokens for assertions, messages for access tokens."""

import json
import time

import jwt
import pytest

from infra.simulators.providers.accounts import FcmAccount
from infra.simulators.providers.fcm import ERRORS, GRANT

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
TOKEN = "https://oauth2.googleapis.com/token"
MESSAGE = {"token": "device-1:APA91b", "notification": {"title": "Hi", "body": "Hi Ann"}}


@pytest.fixture
def account(kept_accounts):
    kept = json.loads(kept_accounts.read_text())["fcm"][0]
    return FcmAccount(**kept)


@pytest.fixture(scope="session")
def stranger():
    return FcmAccount(project_id="stranger")


def assertion(account, key=None, headers=None, algorithm="RS256", **changes):
    now = int(time.time())
    claims = {
        "iss": account.client_email,
        "scope": SCOPE,
        "aud": TOKEN,
        "iat": now,
        "exp": now + 3600,
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key or account.private_key, algorithm=algorithm)


@pytest.fixture
def get_token(http):
    async def get_token(ports, assertion, grant=GRANT):
        return await http(
            "POST",
            f"http://127.0.0.1:{ports.fcm}/token",
            data={"grant_type": grant, "assertion": assertion},
        )

    return get_token


@pytest.fixture
def send(http, get_token, account):
    async def send(ports, message=MESSAGE, project="hermes-sandbox", token=None, **more):
        if token is None:
            token = (await get_token(ports, assertion(account))).json["access_token"]
        return await http(
            "POST",
            f"http://127.0.0.1:{ports.fcm}/v1/projects/{project}/messages:send",
            json={"message": message, **more},
            headers={"Authorization": f"Bearer {token}"},
        )

    return send


async def test_a_message_is_accepted(start, get_token, account, send):
    sandbox, ports = await start()
    answer = await get_token(ports, assertion(account))
    assert answer.status == 200
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 3599)
    answer = await send(ports, token=answer.json["access_token"])
    assert answer.status == 200
    name = answer.json["name"]
    assert name.startswith("projects/hermes-sandbox/messages/")
    [message] = sandbox.providers["fcm"].record.messages
    assert name.endswith("/" + message.id)
    assert (message.to, message.text) == (MESSAGE["token"], "Hi Ann")


ASSERTIONS = [
    ({"aud": "https://example.com/token"}, "invalid_grant", "audience"),
    ({"iss": "nobody@example.com"}, "invalid_grant", "account not found"),
    ({"iat": 1, "exp": 3601}, "invalid_grant", "short-lived"),
    ({"exp": 1}, "invalid_grant", "short-lived"),
    ({"exp": int(time.time()) + 90_000}, "invalid_grant", "short-lived"),
    ({"iat": int(time.time()) + 3_000, "exp": int(time.time()) + 4_000}, "invalid_grant", "short"),
    ({"scope": "https://example.com/everything"}, "invalid_scope", "scope"),
    ({"scope": None}, "invalid_scope", "scope"),
    ({"iss": None}, "invalid_request", "Bad Request"),
    ({"iat": "now"}, "invalid_request", "Bad Request"),
]


@pytest.mark.parametrize(("changes", "error", "said"), ASSERTIONS)
async def test_assertions_are_checked(start, get_token, account, changes, error, said):
    _, ports = await start()
    # PyJWT refuses to make some of these itself, unless they are given as they stand.
    answer = await get_token(ports, assertion(account, **changes))
    assert (answer.status, answer.json["error"]) == (400, error)
    assert said in answer.json["error_description"]


async def test_signatures_are_checked(start, get_token, account, stranger):
    _, ports = await start()
    good = assertion(account)
    for bad in (
        assertion(account, key=stranger.private_key),
        assertion(account, key="x" * 32, algorithm="HS256"),
        good[:-8] + "AAAAAAA" + ("A" if good[-1] != "A" else "Q"),
    ):
        answer = await get_token(ports, bad)
        assert answer.json["error_description"] == "Invalid JWT Signature."
    for malformed in ("", "x", "a.b.c", good + ".x", "é.é.é"):
        answer = await get_token(ports, malformed)
        assert (answer.status, answer.json["error"]) == (400, "invalid_request")
    answer = await get_token(ports, good, grant="password")
    assert answer.json["error"] == "unsupported_grant_type"


async def test_access_tokens_are_checked(start, send, account, get_token):
    sandbox, ports = await start()
    answer = await send(ports, token="ya29.wrong")
    assert (answer.status, answer.json["error"]["status"]) == (401, "UNAUTHENTICATED")
    answer = await send(ports, project="another")
    assert (answer.status, answer.json["error"]["status"]) == (403, "PERMISSION_DENIED")
    sandbox.change({"token_lifetime_s": 0})
    expired = await get_token(ports, assertion(account))
    assert expired.json["expires_in"] == 0
    answer = await send(ports, token=expired.json["access_token"])
    assert answer.json["error"]["details"][0]["reason"] == "ACCESS_TOKEN_EXPIRED"
    assert sandbox.providers["fcm"].record.counters.unauthorized == 3


async def test_a_second_project_has_its_own_service_account(start, send, stranger, get_token):
    sandbox, ports = await start()
    made = sandbox.accounts.put(
        "fcm", {"project_id": "stranger", "private_key": stranger.private_key}
    )
    assert json.loads(made["service_account"])["client_email"] == stranger.client_email
    token = (await get_token(ports, assertion(stranger))).json["access_token"]
    assert (await send(ports, project="stranger", token=token)).status == 200
    assert (await send(ports, project="hermes-sandbox", token=token)).status == 403


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("unregistered", "UNREGISTERED"),
        ("invalid", "INVALID_ARGUMENT"),
        ("mismatch", "SENDER_ID_MISMATCH"),
        ("quota", "QUOTA_EXCEEDED"),
        ("unavailable", "UNAVAILABLE"),
        ("internal", "INTERNAL"),
        ("apns", "THIRD_PARTY_AUTH_ERROR"),
    ],
)
async def test_the_token_chooses_the_error(start, send, token, code):
    sandbox, ports = await start(retry_after_s=9)
    answer = await send(ports, {**MESSAGE, "token": f"{token}-1:APA91b"})
    error = answer.json["error"]
    assert (answer.status, error["code"]) == (ERRORS[code].status,) * 2
    assert (error["status"], error["message"]) == (ERRORS[code].name, ERRORS[code].message)
    assert error["details"][0] == {
        "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError",
        "errorCode": code,
    }
    wanted = "9" if answer.status in (429, 503) else None
    assert answer.headers.get("Retry-After") == wanted
    assert sandbox.providers["fcm"].record.counters.accepted == 0


INVALID = [
    ("no message", "Recipient of the message is not set."),
    ({"notification": {"body": "x"}}, "Recipient of the message is not set."),
    ({"token": ""}, "Recipient of the message is not set."),
    ({"token": 5}, "Invalid value at 'message.token' (TYPE_STRING), 5"),
    ({"token": "a b"}, "The registration token is not a valid FCM registration token"),
    (
        {"token": "a", "topic": "b"},
        "Invalid value at 'message' (oneof), oneof field 'target' is "
        "already set. Cannot set 'topic'",
    ),
    (
        {"token": "a", "text": "x"},
        "Invalid JSON payload received. Unknown name \"text\" at 'message': Cannot find field.",
    ),
    (
        {"token": "a", "notification": {"text": "x"}},
        "Invalid JSON payload received. Unknown name "
        "\"text\" at 'message.notification': Cannot find field.",
    ),
    (
        {"token": "a", "notification": {"body": 1}},
        "Invalid value at 'message.notification.body' (TYPE_STRING), 1",
    ),
    (
        {"token": "a", "data": {"n": 12}},
        "Invalid value at 'message.data[0].value' (TYPE_STRING), 12",
    ),
    ({"token": "a", "data": ["x"]}, "Invalid value at 'message.data' (TYPE_STRING), [\"x\"]"),
    ({"token": "a", "data": {"from": "x"}}, "Invalid data payload key: from"),
    ({"token": "a", "data": {"google.x": "x"}}, "Invalid data payload key: google.x"),
    ({"token": "a", "data": {"x": "x" * 4096}}, "Request contains an invalid argument."),
]


@pytest.mark.parametrize(("message", "said"), INVALID)
async def test_messages_are_checked(start, send, message, said):
    sandbox, ports = await start()
    answer = await send(ports, message)
    error = answer.json["error"]
    assert (answer.status, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert error["message"] == said
    assert sandbox.providers["fcm"].record.counters.invalid == 1


async def test_the_envelope_is_checked(start, http, send):
    _, ports = await start()
    answer = await send(ports, extra=1)
    assert 'Unknown name "extra": Cannot find field.' in answer.json["error"]["message"]
    answer = await http("GET", f"http://127.0.0.1:{ports.fcm}/v2")
    assert answer.status == 404


async def test_exactly_the_limit_is_taken(start, send):
    _, ports = await start()
    message = {"token": "a", "data": {"x": "x" * 4095}}
    assert (await send(ports, message)).status == 200


async def test_validate_only_sends_nothing(start, send):
    sandbox, ports = await start()
    answer = await send(ports, validate_only=True)
    assert answer.json == {"name": "projects/hermes-sandbox/messages/fake_message_id"}
    assert not sandbox.providers["fcm"].record.messages


@pytest.mark.parametrize(("token", "statuses"), [("busy", [429, 429, 200]), ("flaky", [500, 200])])
async def test_some_are_refused_only_at_first(start, send, token, statuses):
    _, ports = await start()
    answers = [(await send(ports, {**MESSAGE, "token": token})).status for _ in statuses]
    assert answers == statuses
