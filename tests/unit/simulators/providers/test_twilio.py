"""The Twilio stand-in: its API, and its callbacks as Twilio's own library judges them."""

import aiohttp
import pytest
from twilio.request_validator import RequestValidator

from infra.simulators.providers.behaviours import TWILIO
from infra.simulators.providers.twilio import ERRORS
from tests.unit.simulators.providers.twilio_client import ACCOUNT, GOOD, basic, messages_url
from tests.unit.simulators.providers.webhook import PUBLIC
from tests.waiting import eventually

AUTH = basic(ACCOUNT.account_sid, ACCOUNT.auth_token)


@pytest.fixture
def send(http):
    async def send(ports, auth=AUTH, **changes):
        form = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
        return await http("POST", messages_url(ports), data=form, headers=auth)

    return send


async def test_a_message_is_accepted_and_called_back(start, hook, send):
    sandbox, ports = await start(callback_origin=hook.origin)
    answer = await send(ports, Body="Blåbærgrød")
    assert answer.status == 201
    message = answer.json
    assert message["status"] == "queued"
    assert (message["to"], message["from"]) == (GOOD["To"], GOOD["From"])
    assert (message["error_code"], message["messaging_service_sid"]) == (None, None)
    calls = await hook.receives(2)
    assert [call.form["MessageStatus"] for call in calls] == ["sent", "delivered"]
    for call in calls:
        assert call.form["MessageSid"] == message["sid"]
        assert call.form["AccountSid"] == ACCOUNT.account_sid
        assert PUBLIC.endswith(call.path)
        assert call.headers["Host"] == "hermes.example"
        signature = call.headers["X-Twilio-Signature"]
        assert RequestValidator(ACCOUNT.auth_token).validate(PUBLIC, call.form, signature)
    await eventually(lambda: sandbox.providers["twilio"].record.counters.callbacks_delivered == 2)


@pytest.mark.parametrize(
    ("text", "segments"), [("x" * 160, "1"), ("x" * 161, "2"), ("ж" * 70, "1"), ("ж" * 71, "2")]
)
async def test_segments_are_counted(start, send, text, segments):
    _, ports = await start()
    assert (await send(ports, Body=text)).json["num_segments"] == segments


async def test_a_messaging_service_chooses_the_sender_later(start, send):
    _, ports = await start()
    service = "MG" + "0" * 32
    answer = await send(ports, From=None, MessagingServiceSid=service, StatusCallback=None)
    assert answer.status == 201
    assert (answer.json["status"], answer.json["from"]) == ("accepted", None)
    assert answer.json["messaging_service_sid"] == service


REFUSED = [
    ({"To": None}, 400, 21604),
    ({"From": None}, 400, 21603),
    ({"Body": None}, 400, 21602),
    ({"To": "20123456"}, 400, 21211),
    ({"To": "+45 20 12"}, 400, 21211),
    ({"From": "much too long a name"}, 400, 21212),
    ({"From": "+15005550001"}, 400, 21212),
    ({"From": "+15005550007"}, 400, 21606),
    ({"From": "+15005550008"}, 429, 21611),
    ({"Body": "x" * 1601}, 400, 21617),
    ({"StatusCallback": "hermes.example"}, 400, 21609),
    ({"ValidityPeriod": "0"}, 400, 21624),
    ({"ValidityPeriod": "36001"}, 400, 21624),
    ({"ValidityPeriod": "soon"}, 400, 21624),
    ({"From": None, "MessagingServiceSid": "MG1"}, 400, 21701),
    ({"To": "+4520129805"}, 400, 21211),
    ({"To": "+4520129816"}, 429, 20429),
    ({"To": "+4520129807"}, 500, 20500),
    ({"To": "+4520129818"}, 503, 20503),
    ({"To": "+4520129820"}, 400, 21610),
    ({"To": "+4520129821"}, 400, 21614),
    ({"To": "+4520129822"}, 400, 21408),
]


@pytest.mark.parametrize(("changes", "status", "code"), REFUSED)
async def test_what_is_refused(start, send, changes, status, code):
    sandbox, ports = await start()
    answer = await send(ports, **changes)
    assert answer.status == status
    assert (answer.json["status"], answer.json["code"]) == (status, code)
    assert answer.json["message"]
    assert "{" not in answer.json["message"]
    assert answer.json["more_info"] == f"https://www.twilio.com/docs/errors/{code}"
    assert ("Retry-After" in answer.headers) == (status in (429, 503))
    assert sandbox.providers["twilio"].record.counters.accepted == 0


def test_every_error_is_tried():
    tried = {str(code) for _, _, code in REFUSED} | {"20003", "20404"}
    assert tried == set(ERRORS)


@pytest.mark.parametrize(
    "auth",
    [
        None,
        basic(ACCOUNT.account_sid, "wrong"),
        basic("AC" + "0" * 32, ACCOUNT.auth_token),
    ],
)
async def test_credentials_are_checked(start, send, auth):
    sandbox, ports = await start()
    answer = await send(ports, auth=auth)
    assert (answer.status, answer.json["code"]) == (401, 20003)
    assert answer.json["message"] == "Authenticate"
    assert sandbox.providers["twilio"].record.counters.unauthorized == 1


@pytest.mark.parametrize("header", ["Basic", "Basic %%%", "Basic w6U=", "Bearer x", "Basic 4pyTOg"])
async def test_malformed_credentials_are_refused(start, http, header):
    _, ports = await start()
    answer = await http("POST", messages_url(ports), data=GOOD, headers={"Authorization": header})
    assert answer.status == 401


async def test_another_account_is_not_found(start, http):
    _, ports = await start()
    answer = await http("POST", messages_url(ports, "AC" + "1" * 32), data=GOOD, headers=AUTH)
    assert (answer.status, answer.json["code"]) == (404, 20404)
    answer = await http("GET", f"http://127.0.0.1:{ports.twilio}/2010-04-01/", headers=AUTH)
    assert (answer.status, answer.json["code"]) == (404, 20404)


async def test_the_account_and_a_message_can_be_read(start, http, send, hook):
    _, ports = await start(callback_origin=hook.origin)
    account = messages_url(ports).replace("/Messages.json", ".json")
    answer = await http("GET", account, headers=AUTH)
    assert (answer.status, answer.json["status"]) == (200, "active")
    sid = (await send(ports)).json["sid"]
    await hook.receives(2)
    answer = await http("GET", messages_url(ports).replace(".json", f"/{sid}.json"), headers=AUTH)
    assert (answer.json["sid"], answer.json["status"]) == (sid, "delivered")


ENDS = [(number, behaviour) for number, behaviour in TWILIO.items() if behaviour.events is not None]


@pytest.mark.parametrize(("digits", "behaviour"), ENDS, ids=lambda value: str(value)[:4])
async def test_how_messages_end(start, hook, send, digits, behaviour):
    _, ports = await start(callback_origin=hook.origin)
    assert (await send(ports, To=f"+452012{digits}")).status == 201
    # A message to somebody else after it: what comes up to its end is all there is.
    await send(ports)
    calls = await hook.receives(len(behaviour.events) + 2)
    mine = [call.form for call in calls if call.form["To"].endswith(digits)]
    said = [
        form["MessageStatus"] + ":" * ("ErrorCode" in form) + form.get("ErrorCode", "")
        for form in mine
    ]
    assert said == list(behaviour.events)


async def test_a_late_one(start, hook, send):
    _, ports = await start(callback_origin=hook.origin, late_delay_ms=80)
    await send(ports, To="+4520129801")
    await send(ports)
    calls = await hook.receives(4)
    assert [call.form["To"][-4:] for call in calls] == ["3456", "3456", "9801", "9801"]


async def test_callbacks_before_the_answer(start, hook, send):
    _, ports = await start(callback_origin=hook.origin)
    answer = await send(ports, To="+4520129804")
    assert [call.form["MessageStatus"] for call in hook.calls] == ["sent", "delivered"]
    assert answer.json["sid"] == hook.calls[0].form["MessageSid"]


@pytest.mark.parametrize(
    ("digits", "options", "statuses"),
    [
        ("9812", {}, ["sent", "sent", "delivered", "delivered"]),
        ("9813", {}, ["delivered", "sent"]),
        ("3456", {"duplicate": 1}, ["sent", "sent", "delivered", "delivered"]),
        ("3456", {"reorder": 1}, ["delivered", "sent"]),
    ],
)
async def test_duplicates_and_disorder(start, hook, send, digits, options, statuses):
    _, ports = await start(callback_origin=hook.origin, callback_delay_ms=20, **options)
    await send(ports, To=f"+452012{digits}")
    calls = await hook.receives(len(statuses))
    assert [call.form["MessageStatus"] for call in calls] == statuses


@pytest.mark.parametrize(("digits", "options"), [("9814", {}), ("3456", {"bad_signature": 1})])
async def test_bad_signatures(start, hook, send, digits, options):
    _, ports = await start(callback_origin=hook.origin, **options)
    await send(ports, To=f"+452012{digits}")
    for call in await hook.receives(2):
        signature = call.headers["X-Twilio-Signature"]
        assert not RequestValidator(ACCOUNT.auth_token).validate(PUBLIC, call.form, signature)


@pytest.mark.parametrize(
    ("digits", "raised", "delivered"),
    [
        ("9808", TimeoutError, False),
        ("9809", TimeoutError, True),
        ("9810", aiohttp.ClientOSError, False),
        ("9811", aiohttp.ClientOSError, True),
    ],
)
async def test_no_answer(start, hook, http, digits, raised, delivered):
    sandbox, ports = await start(callback_origin=hook.origin)
    counters = sandbox.providers["twilio"].record.counters
    with pytest.raises(raised):
        await http(
            "POST",
            messages_url(ports),
            data={**GOOD, "To": f"+452012{digits}"},
            headers=AUTH,
            timeout=aiohttp.ClientTimeout(total=0.2),
        )
    assert counters.not_answered == 1
    assert (counters.accepted, counters.lost) == ((1, 0) if delivered else (0, 1))
    if delivered:
        calls = await hook.receives(2)
        assert calls[1].form["MessageStatus"] == "delivered"
    assert sandbox.providers["twilio"].record.requests[0].ended in ("timeout", "reset")
    await eventually(lambda: sandbox.providers["twilio"].record.in_flight == 0)


async def test_a_request_never_answered_is_cut_at_last(start, send):
    _, ports = await start(timeout_s=0.05)
    with pytest.raises(aiohttp.ClientOSError):
        await send(ports, To="+4520129808")


async def test_garbage(start, send):
    _, ports = await start()
    answer = await send(ports, To="+4520129815")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html")
    assert answer.body.startswith(b"<!doctype html>")


@pytest.mark.parametrize(
    ("digits", "statuses"), [("9806", [429, 429, 201, 201]), ("9817", [500, 201])]
)
async def test_some_are_refused_only_at_first(start, send, digits, statuses):
    _, ports = await start(retry_after_s=7)
    answers = [await send(ports, To=f"+452012{digits}") for _ in statuses]
    assert [answer.status for answer in answers] == statuses
    assert answers[0].headers.get("Retry-After") == ("7" if statuses[0] == 429 else None)


@pytest.mark.parametrize(
    ("fragment", "statuses", "attempts"),
    [
        ("", [503], 1),
        ("#rc=2&rp=5xx", [503, 503], 3),
        ("#rc=1&rp=all", [404, 404], 2),
        ("#rc=3&rp=ct,rt", [500], 1),
    ],
)
async def test_callbacks_are_retried_as_the_url_says(
    start, hook, send, fragment, statuses, attempts
):
    sandbox, ports = await start(callback_origin=hook.origin)
    record = sandbox.providers["twilio"].record
    hook.statuses = list(statuses)
    await send(ports, To="+4520129828", StatusCallback=PUBLIC + fragment)
    await eventually(lambda: record.callbacks and record.callbacks[0].state != "pending")
    [callback] = record.callbacks
    assert len(callback.attempts) == attempts
    assert callback.state == ("delivered" if attempts > len(statuses) else "given_up")
    assert callback.attempts[0].status == statuses[0]
    for call in hook.calls:
        signature = call.headers["X-Twilio-Signature"]
        assert RequestValidator(ACCOUNT.auth_token).validate(PUBLIC, call.form, signature)
    tokens = {call.headers["I-Twilio-Idempotency-Token"] for call in hook.calls}
    assert len(tokens) == 1


async def test_a_webhook_that_cannot_be_reached_is_tried_twice(start, send, free_port):
    sandbox, ports = await start(callback_origin=f"http://127.0.0.1:{free_port}")
    record = sandbox.providers["twilio"].record
    await send(ports, To="+4520129828")
    await eventually(lambda: record.counters.callbacks_given_up == 1)
    assert [attempt.error for attempt in record.callbacks[0].attempts] == ["connect", "connect"]
    assert record.answers == {"connect": 2}
