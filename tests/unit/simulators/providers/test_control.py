"""The control port, the options, the accounts, and what the command line says."""

import asyncio
import signal
import subprocess
import sys

import pytest
from twilio.request_validator import RequestValidator

from infra.local.ports import in_use
from infra.simulators.providers import (
    OPTIONS,
    Accounts,
    Options,
    OptionsError,
    Ports,
    ProviderSandbox,
)
from infra.simulators.providers.accounts import WhatsAppAccount
from tests.unit.simulators.providers.twilio_client import ACCOUNT, GOOD, basic, messages_url
from tests.unit.simulators.providers.webhook import PUBLIC
from tests.unit.simulators.providers.whatsapp_webhook import is_signed, value_of
from tests.waiting import eventually, until

AUTH = basic(ACCOUNT.account_sid, ACCOUNT.auth_token)


@pytest.fixture
def control(http):
    """Ask the control port: status and JSON."""

    async def control(ports, method, path, body=None):
        answer = await http(method, f"http://127.0.0.1:{ports.control}{path}", json=body)
        return answer.status, answer.json

    return control


@pytest.fixture
def send(http):
    async def send(ports, **changes):
        return await http("POST", messages_url(ports), data={**GOOD, **changes}, headers=AUTH)

    return send


async def test_what_was_seen(start, hook, control, send):
    _, ports = await start(callback_origin=hook.origin)
    first = (await send(ports)).json["sid"]
    second = (await send(ports)).json["sid"]
    await send(ports, To="+4520129805")
    await hook.receives(4)
    stats = (await control(ports, "GET", "/stats"))[1]
    assert stats.keys() == {"twilio", "sendgrid", "fcm", "whatsapp"}
    twilio = stats["twilio"]
    assert (twilio["requests"], twilio["messages"]) == (3, 3)
    assert (twilio["accepted"], twilio["refused"], twilio["duplicates"]) == (2, 1, 1)
    assert (twilio["in_flight"], twilio["events_pending"]) == (0, 0)
    requests = (await control(ports, "GET", "/requests?provider=twilio&status=400"))[1]["twilio"]
    [refused] = requests
    assert (refused["method"], refused["authorization"]) == ("POST", "Basic")
    assert "9805" in refused["body"]
    assert ACCOUNT.auth_token not in str(refused)
    requests = (await control(ports, "GET", "/requests?limit=1"))[1]
    assert [len(requests[name]) for name in ("twilio", "fcm")] == [1, 0]
    messages = (await control(ports, "GET", f"/messages?id={first}"))[1]["twilio"]
    assert [(m["to"], m["text"], m["reference"]) for m in messages] == [(GOOD["To"], "Hi", PUBLIC)]
    [duplicate] = (await control(ports, "GET", "/duplicates?provider=twilio"))[1]["twilio"]
    assert duplicate == {"to": GOOD["To"], "text": "Hi", "ids": [first, second]}

    async def delivered():
        kept = await control(ports, "GET", "/callbacks?provider=twilio&state=delivered")
        return len(kept[1]["twilio"]) == 4

    await eventually(delivered)
    assert await control(ports, "POST", "/reset") == (200, {})
    stats = (await control(ports, "GET", "/stats"))[1]["twilio"]
    assert (stats["requests"], stats["callbacks"], stats["callback_answers"]) == (0, 0, {})
    assert (await control(ports, "GET", "/messages"))[1]["twilio"] == []


async def test_a_reset_forgets_callbacks_to_come(start, hook, control, send):
    sandbox, ports = await start(callback_origin=hook.origin, callback_delay_ms=40)
    await send(ports, To="+4520129801")
    await control(ports, "POST", "/reset")
    await send(ports)
    calls = await hook.receives(2)
    assert {call.form["To"] for call in calls} == {GOOD["To"]}
    assert sandbox.providers["twilio"].pending == 0


@pytest.mark.parametrize(
    "path", ["/requests?limit=x", "/requests?provider=aws", "/options?provider="]
)
async def test_bad_questions(start, control, path):
    _, ports = await start()
    status, answer = await control(ports, "GET", path)
    assert status == 400
    assert answer["error"]


async def test_only_the_newest_are_kept(start, send):
    sandbox, ports = await start(keep=3)
    record = sandbox.providers["twilio"].record
    for text in ("one", "two", "one", "three", "one", "two"):
        await send(ports, Body=text)
    assert [message.text for message in record.messages] == ["three", "one", "two"]
    assert len(record.requests) == 3
    # Each "one" came while the one before was kept; the second "two" did not.
    assert record.counters.duplicates == 2
    assert record.duplicates() == []


# -- options


GOOD_OPTIONS = [
    ("latency_ms", 100, 100.0),
    ("rate", 50, 50.0),
    ("fail_rate", 0.1, 0.1),
    ("throttle_count", 3, 3),
    ("retry_after_s", 30, 30),
    ("timeout_s", 5, 5.0),
    ("token_lifetime_s", 60, 60),
    ("callbacks", False, False),
    ("callback_origin", "http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
    ("callback_delay_ms", 1, 1.0),
    ("late_delay_ms", 1, 1.0),
    ("batch_ms", 0, 0.0),
    ("callback_retries", 0, 0),
    ("callback_backoff_ms", 10, 10.0),
    ("duplicate", 1, 1.0),
    ("reorder", 0.5, 0.5),
    ("early", 0.5, 0.5),
    ("bad_signature", 0.5, 0.5),
    ("keep", 10, 10),
]
BAD_OPTIONS = [
    ("latency_ms", -1, "a number, 0 to"),
    ("fail_rate", 1.1, "a number, 0 to 1"),
    ("throttle_count", 1.5, "a whole number"),
    ("callbacks", 1, "true or false"),
    ("callback_origin", "127.0.0.1:8000", "null, or an origin"),
    ("callback_origin", "http://127.0.0.1/v1", "null, or an origin"),
    ("callback_origin", 8000, "null, or an origin"),
    ("keep", 0, "a whole number, 1 to"),
    ("latency", 1, "no such option; there are latency_ms, "),
]


def test_every_option_is_tried():
    assert {name for name, _, _ in GOOD_OPTIONS} == set(OPTIONS) == set(Options.__struct_fields__)


@pytest.mark.parametrize(("name", "value", "meant"), GOOD_OPTIONS)
def test_options_are_read(name, value, meant):
    changed = Options().changed({name: value})
    assert getattr(changed, name) == meant
    assert Options().changed(changed.as_json()) == changed


@pytest.mark.parametrize(("name", "value", "right"), BAD_OPTIONS)
def test_bad_options_say_what_would_be_right(name, value, right):
    with pytest.raises(OptionsError) as caught:
        Options().changed({name: value})
    assert right in caught.value.problems[name]


async def test_options_of_one_provider_or_all(start, control):
    _, ports = await start()
    status, answer = await control(ports, "PATCH", "/options?provider=fcm", {"latency_ms": 70})
    assert (status, list(answer)) == (200, ["fcm"])
    await control(ports, "PATCH", "/options", {"fail_rate": 0.5})
    options = (await control(ports, "GET", "/options"))[1]
    assert {name: o["latency_ms"] for name, o in options.items()} == {
        "twilio": 0,
        "sendgrid": 0,
        "fcm": 70,
        "whatsapp": 0,
    }
    assert {o["fail_rate"] for o in options.values()} == {0.5}
    status, answer = await control(ports, "PATCH", "/options", {"rate": 5, "fail_rate": 7})
    assert (status, list(answer["options"])) == (400, ["fail_rate"])
    assert (await control(ports, "GET", "/options"))[1] == options
    assert (await control(ports, "PATCH", "/options", []))[0] == 400


async def test_latency_is_waited_for_side_by_side(start, send):
    sandbox, ports = await start(latency_ms=100)
    loop = asyncio.get_running_loop()
    began = loop.time()
    answers = await asyncio.gather(*(send(ports, Body=str(n)) for n in range(20)))
    took = loop.time() - began
    assert {answer.status for answer in answers} == {201}
    assert 0.1 <= took < 1
    assert sandbox.providers["twilio"].record.counters.peak_in_flight == 20


async def test_some_fail_and_some_are_too_many(start, send):
    sandbox, ports = await start(fail_rate=0.5)
    answers = [(await send(ports, Body=str(n))).status for n in range(4)]
    assert answers == [201, 500, 201, 500]
    sandbox.change({"fail_rate": 0, "rate": 0.001})
    answers = [(await send(ports, Body=str(n))).status for n in range(3)]
    assert answers == [201, 429, 429]
    counters = sandbox.providers["twilio"].record.counters
    assert (counters.failed, counters.throttled, counters.accepted) == (2, 2, 3)


async def test_without_callbacks(start, hook, send):
    sandbox, ports = await start(callback_origin=hook.origin, callbacks=False)
    await send(ports)
    sandbox.change({"callbacks": True})
    await send(ports, To="+4520129828")
    await hook.receives(1)
    assert [call.form["To"][-4:] for call in hook.calls] == ["9828"]


async def test_early_by_option(start, hook, send):
    _, ports = await start(callback_origin=hook.origin, early=1)
    await send(ports)
    assert len(hook.calls) == 2


async def test_a_client_that_leaves_before_the_answer(start, hook, send):
    sandbox, ports = await start(callback_origin=hook.origin, latency_ms=5_000)
    record = sandbox.providers["twilio"].record
    sending = asyncio.ensure_future(send(ports))
    await eventually(lambda: record.counters.accepted == 1)
    sending.cancel()
    # It was taken all the same.
    await hook.receives(2)
    assert [request.ended for request in record.requests] == ["gone"]
    assert (record.counters.not_answered, record.in_flight) == (1, 0)


# -- accounts


async def test_accounts_are_shown_and_changed(start, control, http):
    _, ports = await start()
    accounts = (await control(ports, "GET", "/accounts"))[1]
    assert accounts["twilio"][0]["auth_token"] == ACCOUNT.auth_token
    assert accounts["sendgrid"][0]["webhook_public_key"].startswith("MFkwEwYHKoZIzj0CAQYIKoZIzj0D")
    assert '"type": "service_account"' in accounts["fcm"][0]["service_account"]
    changed = {"provider": "whatsapp", "webhook": "http://127.0.0.1:8000/x"}
    status, shown = await control(ports, "POST", "/accounts", changed)
    assert (status, shown["webhook"]) == (200, changed["webhook"])
    assert shown["verify_token"] == "hermes"
    new = {"provider": "twilio", "account_sid": "AC" + "2" * 32, "auth_token": "secret"}
    assert (await control(ports, "POST", "/accounts", new))[0] == 200
    answer = await http(
        "POST",
        messages_url(ports, new["account_sid"]),
        data=GOOD,
        headers=basic(new["account_sid"], "secret"),
    )
    assert answer.status == 201
    assert len((await control(ports, "GET", "/accounts"))[1]["twilio"]) == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"provider": "aws"},
        {"provider": "twilio", "colour": "red"},
        {"provider": "sendgrid", "webhook": 5},
        {"provider": "sendgrid", "private_key": "none"},
        [],
    ],
)
async def test_bad_accounts(start, control, body):
    _, ports = await start()
    before = (await control(ports, "GET", "/accounts"))[1]
    status, answer = await control(ports, "POST", "/accounts", body)
    assert status == 400
    assert answer["error"]
    assert (await control(ports, "GET", "/accounts"))[1] == before


def test_accounts_are_kept_in_a_file_for_their_owner(kept_accounts, tmp_path):
    file = tmp_path / "kept.json"
    file.write_bytes(kept_accounts.read_bytes())
    accounts = Accounts(file)
    accounts.put("sendgrid", {"webhook": PUBLIC})
    assert file.stat().st_mode & 0o777 == 0o600
    again = Accounts(file)
    assert again.show() == accounts.show()
    assert again.sendgrid.find(None).webhook == PUBLIC


@pytest.mark.parametrize("text", ["{", '{"twilio": [{"colour": "red"}]}'])
def test_a_file_that_holds_no_accounts(tmp_path, text):
    file = tmp_path / "kept.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"JSON|Expecting|colour|unknown field"):
        Accounts(file)


# -- what comes in


async def test_somebody_writes_to_a_twilio_number(start, hook, control):
    _, ports = await start(callback_origin=hook.origin)
    body = {"provider": "twilio", "from": "+4520123456", "to": "+4520111111", "text": "STOP æ"}
    assert (await control(ports, "POST", "/inbound", body))[0] == 400
    await control(ports, "POST", "/accounts", {"provider": "twilio", "webhook": PUBLIC})
    status, answer = await control(ports, "POST", "/inbound", {**body, "repeat": 2})
    assert status == 200
    calls = await hook.receives(2)
    assert sorted(call.form["MessageSid"] for call in calls) == sorted(answer["ids"])
    form = calls[0].form
    assert (form["From"], form["To"], form["Body"]) == ("+4520123456", "+4520111111", "STOP æ")
    signature = calls[0].headers["X-Twilio-Signature"]
    assert RequestValidator(ACCOUNT.auth_token).validate(PUBLIC, form, signature)
    await control(ports, "POST", "/inbound", {**body, "signature": "bad"})
    call = (await hook.receives(3))[2]
    assert not RequestValidator(ACCOUNT.auth_token).validate(
        PUBLIC, call.form, call.headers["X-Twilio-Signature"]
    )


async def test_somebody_writes_to_a_whatsapp_number(start, hook, control):
    _, ports = await start(callback_origin=hook.origin)
    body = {"provider": "whatsapp", "from": "+4520123456", "text": "Hej æ"}
    assert (await control(ports, "POST", "/inbound", body))[0] == 400
    await control(ports, "POST", "/accounts", {"provider": "whatsapp", "webhook": PUBLIC})
    _, answer = await control(ports, "POST", "/inbound", body)
    [call] = await hook.receives(1)
    assert is_signed(call)
    [message] = value_of(call)["messages"]
    assert [message["id"]] == answer["ids"]
    assert (message["from"], message["text"]) == ("4520123456", {"body": "Hej æ"})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"provider": "twilio"},
        {"provider": "twilio", "from": "a", "text": "c", "url": "http://127.0.0.1:1/"},
        {"provider": "fcm", "from": "a", "to": "b", "text": "c"},
        {"provider": "sendgrid", "from": "a", "to": "b", "text": "c"},
        {"provider": "aws", "from": "a", "to": "b", "text": "c"},
        {"provider": "twilio", "from": "a", "to": "b", "text": "c", "account": "nobody"},
    ],
)
async def test_bad_inbound(start, control, body):
    _, ports = await start()
    status, answer = await control(ports, "POST", "/inbound", body)
    assert status == 400
    assert answer["error"]


async def test_a_webhook_proves_itself(start, hook, control, free_port):
    _, ports = await start(callback_origin=hook.origin)
    assert (await control(ports, "POST", "/verify", {}))[0] == 400
    assert (await control(ports, "POST", "/verify", {"provider": "fcm"}))[0] == 400
    await control(ports, "POST", "/accounts", {"provider": "whatsapp", "webhook": PUBLIC})
    hook.challenge = lambda call: call.query["hub.challenge"]
    status, answer = await control(ports, "POST", "/verify", {"provider": "whatsapp"})
    assert (status, answer["verified"], answer["status"]) == (200, True, 200)
    [call] = hook.calls
    assert call.method == "GET"
    assert f"hub.verify_token={WhatsAppAccount().verify_token}" in call.path
    assert "hub.mode=subscribe" in call.path
    hook.challenge = lambda call: "something else"
    assert not (await control(ports, "POST", "/verify", {}))[1]["verified"]
    nowhere = {"callback_origin": f"http://127.0.0.1:{free_port}"}
    await control(ports, "PATCH", "/options", nowhere)
    answer = (await control(ports, "POST", "/verify", {}))[1]
    assert (answer["verified"], answer["status"]) == (False, None)


# -- as a process


async def test_a_taken_port_leaves_none_open(start, free_port):
    sandbox, ports = await start()
    second = ProviderSandbox(accounts=sandbox.accounts)
    with pytest.raises(OSError, match="in use"):
        await second.start(ports=Ports(twilio=free_port, sendgrid=0, fcm=ports.fcm))
    assert not in_use(free_port)


def test_help_names_every_option():
    shown = subprocess.run(
        [sys.executable, "-m", "infra.simulators.providers", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    flags = {name: "--" + name.replace("_", "-") for name in OPTIONS}
    assert [name for name, flag in flags.items() if f"\n  {flag}" not in shown] == []
    assert max(map(len, shown.splitlines())) <= 100


def test_it_starts_says_so_and_ends_at_once(kept_accounts, tmp_path):
    file = tmp_path / "kept.json"
    file.write_bytes(kept_accounts.read_bytes())
    ports = [f"--{name}-port=0" for name in ("control", "twilio", "sendgrid", "fcm", "whatsapp")]
    log = tmp_path / "log"
    with log.open("w") as opened:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.simulators.providers", "--accounts", file, *ports],
            stderr=opened,
        )
        try:
            until(lambda: "provider sandbox ready: twilio http://127.0.0.1:" in log.read_text())
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 0
        finally:
            process.kill()
            process.wait()
