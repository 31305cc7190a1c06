"""The SendGrid stand-in: its API, and its events as SendGrid's own library judges them."""

import time

import aiohttp
import pytest
from sendgrid.helpers.eventwebhook import EventWebhook

from infra.simulators.providers.accounts import SendGridAccount
from infra.simulators.providers.behaviours import SENDGRID
from infra.simulators.providers.sendgrid import ERRORS
from tests.unit.simulators.providers.webhook import PUBLIC
from tests.waiting import eventually

KEY = SendGridAccount().api_key
MAIL = {
    "personalizations": [
        {"to": [{"email": "ann@example.com"}], "custom_args": {"reference": "m1.1"}}
    ],
    "from": {"email": "shop@example.com", "name": "Shop"},
    "subject": "Hi",
    "content": [{"type": "text/plain", "value": "Hi Ann"}],
    "custom_args": {"tenant": "acme"},
}


@pytest.fixture
def send(http):
    async def send(ports, to="ann@example.com", key=KEY, **changes):
        mail = {**MAIL, **changes}
        if "personalizations" not in changes:
            mail["personalizations"] = [{**MAIL["personalizations"][0], "to": [{"email": to}]}]
        mail = {name: value for name, value in mail.items() if value is not None}
        return await http(
            "POST",
            f"http://127.0.0.1:{ports.sendgrid}/v3/mail/send",
            json=mail,
            headers={"Authorization": f"Bearer {key}"},
        )

    return send


@pytest.fixture
async def wired(start, hook):
    """A sandbox whose default account has the hook as its webhook."""

    async def wired(**options):
        sandbox, ports = await start(callback_origin=hook.origin, **options)
        sandbox.accounts.put("sendgrid", {"webhook": PUBLIC})
        return sandbox, ports

    return wired


def events_of(calls):
    return [event for call in calls for event in call.json]


def judged(sandbox, call):
    """What SendGrid's library says of a callback."""
    return EventWebhook(sandbox.accounts.sendgrid.find(None).public_key).verify_signature(
        call.body.decode(),
        call.headers["X-Twilio-Email-Event-Webhook-Signature"],
        call.headers["X-Twilio-Email-Event-Webhook-Timestamp"],
    )


async def test_a_mail_is_accepted_and_its_events_come(wired, hook, send):
    sandbox, ports = await wired()
    answer = await send(ports)
    assert (answer.status, answer.body) == (202, b"")
    await eventually(lambda: len(events_of(hook.calls)) == 2)
    processed, delivered = events_of(hook.calls)
    assert (processed["event"], delivered["event"]) == ("processed", "delivered")
    assert delivered["response"] == "250 2.0.0 OK"
    for event in (processed, delivered):
        assert event["email"] == "ann@example.com"
        assert event["sg_message_id"].startswith(answer.headers["X-Message-Id"] + ".")
        assert (event["reference"], event["tenant"]) == ("m1.1", "acme")
    assert processed["sg_event_id"] != delivered["sg_event_id"]
    for call in hook.calls:
        assert PUBLIC.endswith(call.path)
        assert judged(sandbox, call)
        timestamp = int(call.headers["X-Twilio-Email-Event-Webhook-Timestamp"])
        assert abs(timestamp - time.time()) < 10


async def test_events_come_in_batches(wired, hook, send):
    sandbox, ports = await wired(batch_ms=150, callback_delay_ms=1)
    for number in range(5):
        await send(ports, to=f"ann{number}@example.com")
    await eventually(lambda: len(events_of(hook.calls)) == 10)
    assert len(hook.calls) < 5
    assert all(judged(sandbox, call) for call in hook.calls)


async def test_every_recipient_has_its_own_events(wired, hook, send):
    sandbox, ports = await wired()
    people = [
        {"to": [{"email": "ann@example.com"}, {"email": "sg-bounce@example.com"}]},
        {"to": [{"email": "bob@example.com"}], "custom_args": {"reference": "m2"}},
    ]
    assert (await send(ports, personalizations=people)).status == 202
    await eventually(lambda: len(events_of(hook.calls)) == 6)
    ended = {e["email"]: (e["event"], e.get("reference")) for e in events_of(hook.calls)}
    assert ended == {
        "ann@example.com": ("delivered", None),
        "sg-bounce@example.com": ("bounce", None),
        "bob@example.com": ("delivered", "m2"),
    }
    assert sandbox.providers["sendgrid"].record.counters.accepted == 1


REFUSED = [
    ({"personalizations": None}, 400, "personalizations"),
    ({"personalizations": []}, 400, "personalizations"),
    ({"personalizations": [{}]}, 400, "to"),
    ({"personalizations": [{"to": []}]}, 400, "to"),
    ({"to": "nobody"}, 400, "address"),
    ({"to": "a b@example.com"}, 400, "address"),
    ({"from": None}, 400, "from"),
    ({"from": {"email": "shop"}}, 400, "from"),
    ({"subject": None}, 400, "subject"),
    ({"content": None}, 400, "content"),
    ({"content": [{"type": "text/plain", "value": ""}]}, 400, "content.value"),
    (
        {
            "content": [
                {"type": "text/html", "value": "<p>"},
                {"type": "text/plain", "value": "x"},
            ]
        },
        400,
        "content.order",
    ),
    ({"custom_args": {"n": 1}}, 400, "custom_args"),
    ({"custom_args": {"n": "x" * 10_000}}, 400, "custom_args"),
    ({"key": "SG.wrong"}, 401, "credentials"),
    ({"from": {"email": "unverified@example.com"}}, 403, "sender"),
    ({"to": "sg-invalid@example.com"}, 400, "address"),
    ({"to": "sg-throttled@example.com"}, 429, "throttled"),
    ({"to": "sg-error@example.com"}, 500, "internal"),
    ({"to": "sg-unavailable@example.com"}, 503, "unavailable"),
]


@pytest.mark.parametrize(("changes", "status", "error"), REFUSED)
async def test_what_is_refused(start, send, changes, status, error):
    sandbox, ports = await start()
    answer = await send(ports, **changes)
    assert answer.status == status
    assert answer.json == {
        "errors": [{"message": ERRORS[error].message, "field": ERRORS[error].field, "help": None}]
    }
    assert ("Retry-After" in answer.headers) == (status in (429, 503))
    assert ("X-RateLimit-Reset" in answer.headers) == (status == 429)
    assert sandbox.providers["sendgrid"].record.counters.accepted == 0


def test_every_error_is_tried():
    assert {error for _, _, error in REFUSED} | {"json", "not found"} == set(ERRORS)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
async def test_a_body_that_is_no_mail(start, http, body):
    _, ports = await start()
    url = f"http://127.0.0.1:{ports.sendgrid}/v3/mail/send"
    answer = await http("POST", url, data=body, headers={"Authorization": f"Bearer {KEY}"})
    assert (answer.status, answer.json["errors"][0]["message"]) == (400, "Bad Request")
    answer = await http("POST", url + "s", data=body)
    assert answer.status == 404


async def test_scopes_say_whether_a_key_is_good(start, http):
    _, ports = await start()
    url = f"http://127.0.0.1:{ports.sendgrid}/v3/scopes"
    for key, status in ((KEY, 200), ("SG.wrong", 401)):
        answer = await http("GET", url, headers={"Authorization": f"Bearer {key}"})
        assert answer.status == status


ENDS = {name: b for name, b in SENDGRID.items() if b.events}


@pytest.mark.parametrize("name", ENDS)
async def test_how_mails_end(wired, hook, send, name):
    _, ports = await wired()
    assert (await send(ports, to=f"{name}@example.com")).status == 202
    expected = ENDS[name].events
    await eventually(lambda: len(events_of(hook.calls)) == len(expected))
    said = [e.get("type", e["event"]) for e in events_of(hook.calls)]
    assert said == [event.partition(":")[0] for event in expected]
    last = events_of(hook.calls)[-1]
    code = expected[-1].partition(":")[2]
    if code == "machine":
        assert last["sg_machine_open"] is True
    elif code:
        assert code in (last.get("status"), last.get("reason"))


async def test_silence_and_lateness(wired, hook, send):
    _, ports = await wired(late_delay_ms=80)
    for name in ("sg-late", "sg-silent", "ann"):
        await send(ports, to=f"{name}@example.com")
    await eventually(lambda: len(events_of(hook.calls)) == 4)
    assert [event["email"] for event in events_of(hook.calls)] == ["ann@example.com"] * 2 + [
        "sg-late@example.com"
    ] * 2


async def test_events_before_the_answer(wired, hook, send):
    _, ports = await wired()
    answer = await send(ports, to="sg-early@example.com")
    assert [event["event"] for event in events_of(hook.calls)] == ["processed", "delivered"]
    assert events_of(hook.calls)[0]["sg_message_id"].startswith(answer.headers["X-Message-Id"])


async def test_a_duplicate_has_the_same_event_id(wired, hook, send):
    _, ports = await wired(callback_delay_ms=15, batch_ms=0)
    await send(ports, to="sg-twice@example.com")
    await eventually(lambda: len(events_of(hook.calls)) == 4)
    ids = [event["sg_event_id"] for event in events_of(hook.calls)]
    assert (ids[0], ids[2]) == (ids[1], ids[3])
    assert ids[0] != ids[2]


async def test_disorder(wired, hook, send):
    _, ports = await wired()
    await send(ports, to="sg-reordered@example.com")
    await eventually(lambda: len(events_of(hook.calls)) == 2)
    first, second = events_of(hook.calls)
    assert (first["event"], second["event"]) == ("delivered", "processed")
    assert first["timestamp"] > second["timestamp"]


async def test_bad_and_stale_signatures(wired, hook, send):
    sandbox, ports = await wired()
    await send(ports, to="sg-unsigned@example.com")
    await eventually(lambda: len(events_of(hook.calls)) == 2)
    assert not any(judged(sandbox, call) for call in hook.calls)
    hook.calls.clear()
    await send(ports, to="sg-stale@example.com")
    await eventually(lambda: len(events_of(hook.calls)) == 2)
    for call in hook.calls:
        assert judged(sandbox, call)
        timestamp = int(call.headers["X-Twilio-Email-Event-Webhook-Timestamp"])
        assert time.time() - timestamp > 3_000


async def test_events_are_sent_again_until_they_are_taken(wired, hook, send):
    sandbox, ports = await wired(callback_retries=3)
    record = sandbox.providers["sendgrid"].record
    hook.statuses = [500, 403, 429]
    await send(ports, to="sg-processed@example.com")
    await eventually(lambda: record.counters.callbacks_delivered == 1)
    [callback] = record.callbacks
    assert [attempt.status for attempt in callback.attempts] == [500, 403, 429, 200]
    assert len({call.body for call in hook.calls}) == 1
    hook.statuses = [500] * 10
    await send(ports, to="sg-processed@example.com")
    await eventually(lambda: record.counters.callbacks_given_up == 1)
    assert record.answers["500"] == 5


@pytest.mark.parametrize(("name", "accepted"), [("sg-timeout", 0), ("sg-unanswered", 1)])
async def test_no_answer(wired, hook, send, name, accepted):
    sandbox, ports = await wired(timeout_s=0.05)
    with pytest.raises(aiohttp.ClientOSError):
        await send(ports, to=f"{name}@example.com")
    assert sandbox.providers["sendgrid"].record.counters.accepted == accepted
    await eventually(lambda: len(events_of(hook.calls)) == 2 * accepted)


async def test_a_sandbox_mail_is_not_sent(wired, hook, send):
    sandbox, ports = await wired()
    settings = {"sandbox_mode": {"enable": True}}
    assert (await send(ports, mail_settings=settings)).status == 202
    await send(ports, to="sg-processed@example.com")
    await eventually(lambda: events_of(hook.calls))
    assert [event["email"] for event in events_of(hook.calls)] == ["sg-processed@example.com"]
    assert len(sandbox.providers["sendgrid"].record.messages) == 1


async def test_an_account_without_a_webhook(start, send):
    sandbox, ports = await start()
    await send(ports)
    counters = sandbox.providers["sendgrid"].record.counters
    await eventually(lambda: counters.callbacks_nowhere == 2)
    assert counters.callbacks == 0
