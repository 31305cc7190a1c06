"""The WhatsApp stand-in: its API, its statuses, messages to us, and the proof of a webhook."""

import time

import aiohttp
import pytest

from infra.simulators.providers.behaviours import WHATSAPP
from infra.simulators.providers.whatsapp import ERRORS
from tests.unit.simulators.providers.webhook import PUBLIC
from tests.unit.simulators.providers.whatsapp_webhook import ACCOUNT, is_signed, value_of
from tests.waiting import eventually

TEXT = {
    "messaging_product": "whatsapp",
    "recipient_type": "individual",
    "to": "+45 20 12 34 56",
    "type": "text",
    "text": {"body": "Hi"},
    "biz_opaque_callback_data": "m1.1",
}
TEMPLATE = {
    "name": "order_ready",
    "language": {"code": "da"},
    "components": [{"type": "body", "parameters": [{"type": "text", "text": "17"}]}],
}


@pytest.fixture
def send(http):
    async def send(
        ports,
        token=ACCOUNT.access_token,
        number=ACCOUNT.phone_number_id,
        version="v23.0",
        **changes,
    ):
        message = {name: v for name, v in {**TEXT, **changes}.items() if v is not None}
        return await http(
            "POST",
            f"http://127.0.0.1:{ports.whatsapp}/{version}/{number}/messages",
            json=message,
            headers={"Authorization": f"Bearer {token}"},
        )

    return send


@pytest.fixture
async def wired(start, hook):
    """A sandbox whose default account has the hook as its webhook."""

    async def wired(**options):
        sandbox, ports = await start(callback_origin=hook.origin, **options)
        sandbox.accounts.put("whatsapp", {"webhook": PUBLIC})
        return sandbox, ports

    return wired


def statuses_of(calls):
    return [status for call in calls for status in value_of(call).get("statuses", [])]


async def test_a_text_is_accepted_and_its_statuses_come(wired, hook, send):
    _, ports = await wired()
    answer = await send(ports)
    assert answer.status == 200
    assert answer.json["contacts"] == [{"input": TEXT["to"], "wa_id": "4520123456"}]
    [message] = answer.json["messages"]
    assert message["id"].startswith("wamid.")
    calls = await hook.receives(2)
    assert all(is_signed(call) for call in calls)
    assert all(PUBLIC.endswith(call.path) for call in calls)
    sent, delivered = statuses_of(calls)
    assert (sent["status"], delivered["status"]) == ("sent", "delivered")
    for status in (sent, delivered):
        assert (status["id"], status["recipient_id"]) == (message["id"], "4520123456")
        assert status["biz_opaque_callback_data"] == "m1.1"
        assert abs(int(status["timestamp"]) - time.time()) < 10
        assert status["pricing"]["category"] == "service"


async def test_a_template_is_accepted(wired, hook, send):
    _, ports = await wired()
    answer = await send(ports, type="template", text=None, template=TEMPLATE)
    assert (answer.status, answer.json["messages"][0]["message_status"]) == (200, "accepted")
    calls = await hook.receives(2)
    assert statuses_of(calls)[0]["pricing"]["category"] == "utility"


def template(**changes):
    merged = {k: v for k, v in {**TEMPLATE, **changes}.items() if v is not None}
    return {"type": "template", "text": None, "template": merged}


REFUSED = [
    ({"messaging_product": None}, 400, 100),
    ({"to": None}, 400, 100),
    ({"to": "nobody"}, 400, 131009),
    ({"type": "image"}, 400, 131009),
    ({"biz_opaque_callback_data": "x" * 513}, 400, 131009),
    ({"text": None}, 400, 131008),
    ({"text": {"body": ""}}, 400, 131008),
    ({"text": {"body": "x" * 4097}}, 400, 100),
    (template(name=None), 400, 131008),
    (template(language=None), 400, 131008),
    (template(name="missing_one"), 404, 132001),
    (template(components=[{"type": "belly"}]), 400, 131009),
    (template(components=[{"type": "body", "parameters": [{"type": "text"}]}]), 400, 131008),
    ({"token": "EAAwrong"}, 401, 190),
    ({"number": "42"}, 400, 100),
    ({"version": "v"}, 400, 2500),
    ({"to": "+4520129705"}, 400, 131030),
    ({"to": "+4520129707"}, 500, 131000),
    ({"to": "+4520129716"}, 429, 130429),
    ({"to": "+4520129718"}, 503, 2),
    ({"to": "+4520129722"}, 429, 131056),
    ({"to": "+4520129723"}, 403, 368),
]


@pytest.mark.parametrize(("changes", "status", "code"), REFUSED)
async def test_what_is_refused(start, send, changes, status, code):
    sandbox, ports = await start(retry_after_s=3)
    answer = await send(ports, **changes)
    error = answer.json["error"]
    assert (answer.status, error["code"]) == (status, code)
    assert error["fbtrace_id"]
    assert "{" not in error["message"]
    if str(code) in ERRORS and ERRORS[str(code)].details and "error_subcode" not in error:
        assert error["error_data"]["messaging_product"] == "whatsapp"
        assert error["error_data"]["details"]
    assert answer.headers.get("Retry-After") == ("3" if status in (429, 503) else None)
    assert sandbox.providers["whatsapp"].record.counters.accepted == 0


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff"])
async def test_a_body_that_is_no_message(start, http, body):
    _, ports = await start()
    url = f"http://127.0.0.1:{ports.whatsapp}/v23.0/{ACCOUNT.phone_number_id}/messages"
    headers = {"Authorization": f"Bearer {ACCOUNT.access_token}"}
    answer = await http("POST", url, data=body, headers=headers)
    assert (answer.status, answer.json["error"]["code"]) == (400, 100)


async def test_the_number_can_be_read_and_a_message_marked_as_read(start, http, send):
    sandbox, ports = await start()
    url = f"http://127.0.0.1:{ports.whatsapp}/v23.0/{ACCOUNT.phone_number_id}"
    headers = {"Authorization": f"Bearer {ACCOUNT.access_token}"}
    answer = await http("GET", url, headers=headers)
    assert (answer.status, answer.json["id"]) == (200, ACCOUNT.phone_number_id)
    answer = await send(ports, status="read", message_id="wamid.x")
    assert answer.json == {"success": True}
    assert sandbox.providers["whatsapp"].record.counters.messages == 0


ENDS = {digits: behaviour for digits, behaviour in WHATSAPP.items() if behaviour.events}


@pytest.mark.parametrize("digits", ENDS)
async def test_how_messages_end(wired, hook, send, digits):
    _, ports = await wired()
    assert (await send(ports, to=f"+452012{digits}")).status == 200
    expected = ENDS[digits].events
    statuses = statuses_of(await hook.receives(len(expected)))
    assert [status["status"] for status in statuses] == [e.partition(":")[0] for e in expected]
    code = expected[-1].partition(":")[2]
    if code:
        [error] = statuses[-1]["errors"]
        assert (error["code"], error["title"]) == (int(code), ERRORS[code].title)
        assert error["error_data"]["details"]
        assert "pricing" not in statuses[-1]


async def test_silence_and_lateness(wired, hook, send):
    _, ports = await wired(late_delay_ms=80)
    for digits in ("9701", "9702", "3456"):
        await send(ports, to=f"+452012{digits}")
    statuses = statuses_of(await hook.receives(4))
    assert [s["recipient_id"][-4:] for s in statuses] == ["3456", "3456", "9701", "9701"]


async def test_statuses_before_the_answer(wired, hook, send):
    _, ports = await wired()
    answer = await send(ports, to="+4520129704")
    assert {s["id"] for s in statuses_of(hook.calls)} == {answer.json["messages"][0]["id"]}
    assert len(hook.calls) == 2


@pytest.mark.parametrize(
    ("digits", "order"),
    [("9712", ["sent"] * 2 + ["delivered"] * 2), ("9713", ["delivered", "sent"])],
)
async def test_duplicates_and_disorder(wired, hook, send, digits, order):
    _, ports = await wired(callback_delay_ms=15)
    await send(ports, to=f"+452012{digits}")
    statuses = statuses_of(await hook.receives(len(order)))
    assert [status["status"] for status in statuses] == order


async def test_a_bad_signature(wired, hook, send):
    _, ports = await wired()
    await send(ports, to="+4520129714")
    assert not any(is_signed(call) for call in await hook.receives(2))


async def test_statuses_are_sent_again_until_they_are_taken(wired, hook, send):
    sandbox, ports = await wired()
    record = sandbox.providers["whatsapp"].record
    hook.statuses = [500, 404]
    await send(ports, to="+4520129724")
    await eventually(lambda: record.counters.callbacks_delivered == 1)
    assert [attempt.status for attempt in record.callbacks[0].attempts] == [500, 404, 200]


@pytest.mark.parametrize(("digits", "accepted"), [("9710", 0), ("9711", 1)])
async def test_a_reset(wired, hook, send, digits, accepted):
    sandbox, ports = await wired()
    with pytest.raises(aiohttp.ClientOSError):
        await send(ports, to=f"+452012{digits}")
    assert sandbox.providers["whatsapp"].record.counters.accepted == accepted
    await hook.receives(2 * accepted)
