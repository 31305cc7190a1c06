"""An attempt becomes a Submission: what the guest says, as far as its requests bear it out."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from adapters.wasm import reference
from adapters.wasm.contract import HttpError, HttpResponse
from adapters.wasm.manifest import Limits
from domain.delivery import DeliveryRequest, SubmissionState
from domain.failures import FailureCode
from domain.ids import fresh_id
from domain.message import Category, Content, Level, Template
from tests.unit.wasm.host.conftest import KEY, PATIENT
from tests.unit.wasm.puppet import GET, OK, POST, script
from tests.waiting import eventually

NOW = datetime.now(UTC)
TAKEN, FAILED, BUSY, UNKNOWN = (
    SubmissionState.TAKEN,
    SubmissionState.FAILED,
    SubmissionState.BUSY,
    SubmissionState.UNKNOWN,
)
CREATED, REFUSED = HttpResponse(201), HttpResponse(400)
RESET = HttpError("reset", "it hung up", maybe_sent=True)
DNS = HttpError("dns", "no such name", maybe_sent=False)


def request(text: str, *, tenant: str = "acme", **more) -> DeliveryRequest:
    given = {
        "message": fresh_id(NOW, bytes(10)),
        "attempt": 1,
        "tenant": tenant,
        "to": "+4520123456",
        "content": Content(text),
        "receipt_ref": "",
        "not_after": datetime.now(UTC) + timedelta(minutes=1),
        "channel": "sms",
    }
    return DeliveryRequest(**{**given, **more})


def failed(code: str, **more) -> dict:
    return {"done": {"ok": False, "code": code, **more}}


SAYS = [
    # the guest's answers, the provider's, what comes of it, its failure, words of the detail
    ([POST, OK], [CREATED], TAKEN, None, None),
    ([GET, POST, OK], [CREATED], TAKEN, None, None),
    ([POST, failed("recipient_invalid")], [REFUSED], FAILED, "recipient_invalid", None),
    ([failed("content_rejected")], [], FAILED, "content_rejected", None),
    ([POST, failed("provider_throttled")], [REFUSED], BUSY, "provider_throttled", None),
    ([POST, failed("outcome_unknown")], [REFUSED], UNKNOWN, "outcome_unknown", None),
    ([POST, failed("provider_unavailable")], [DNS], FAILED, "provider_unavailable", None),
    # Lies
    ([OK], [], FAILED, "internal", "no request was answered with 2xx"),
    ([POST, OK], [REFUSED], FAILED, "internal", "no request was answered with 2xx"),
    ([POST, OK], [HttpResponse(302)], FAILED, "internal", "no request was answered with 2xx"),
    ([POST, OK], [DNS], FAILED, "internal", "no request was answered with 2xx"),
    ([GET, POST, OK], [CREATED, REFUSED], FAILED, "internal", "status 400"),
    ([GET, POST, OK], [CREATED, DNS], FAILED, "internal", "without an answer: dns"),
    ([failed("too_late")], [], FAILED, "internal", "which only Hermes can know"),
    ([POST, failed("canceled")], [REFUSED], FAILED, "internal", "which only Hermes can know"),
    # What may have been sent is in doubt, whatever the guest says …
    ([POST, OK], [RESET], UNKNOWN, "outcome_unknown", "it hung up"),
    ([POST, failed("recipient_invalid")], [RESET], UNKNOWN, "outcome_unknown", "it hung up"),
    ([POST, failed("provider_throttled")], [RESET], UNKNOWN, "outcome_unknown", "it hung up"),
    ([POST, POST, OK], [RESET, CREATED], UNKNOWN, "outcome_unknown", "it hung up"),
    ([POST, "nonsense"], [RESET], UNKNOWN, "outcome_unknown", "malformed"),
    # … and what was sent before the guest failed is not sent again.
    ([POST, "nonsense"], [CREATED], UNKNOWN, "outcome_unknown", "malformed"),
    ([POST, POST, OK], [CREATED, REFUSED], UNKNOWN, "outcome_unknown", "lying"),
    ([POST, *[GET] * 9], [CREATED], UNKNOWN, "outcome_unknown", "requests"),
    # Otherwise nothing has happened.
    (["nonsense"], [], FAILED, "internal", "malformed"),
    ([POST, "nonsense"], [REFUSED], FAILED, "internal", "malformed"),
    ([GET, "nonsense"], [CREATED], FAILED, "internal", "malformed"),
    ([*[GET] * 9], [CREATED], FAILED, "internal", "more than 4 requests"),
]


@pytest.mark.parametrize(("says", "answers", "state", "code", "words"), SAYS)
async def test_what_a_guest_says_and_what_is_made_of_it(stage, says, answers, state, code, words):
    stage.install()
    stage.answer(*answers)
    submission = await stage.host.deliver(request(script(*says)), "puppet")
    assert submission.state is state
    assert submission.provider == "puppet"
    assert (submission.failure and submission.failure.code.value) == code
    if words:
        assert words in submission.failure.detail
    assert submission.begun_at <= submission.at


DEEDS = [
    ({"do": "loop"}, "internal", "adapter_fuel"),
    ({"do": "memory"}, "internal", "adapter_memory"),
    ({"do": "throw"}, "internal", "adapter_trap"),
    ({"do": "recursion"}, "internal", "adapter_trap"),
]


@pytest.mark.parametrize(("does", "code", "kind"), DEEDS)
async def test_a_guest_that_fails_is_a_typed_failure(stage, does, code, kind):
    stage.install()
    submission = await stage.host.deliver(request(script(OK, **does)), "puppet")
    assert submission.state is FAILED
    assert submission.failure.code.value == code
    assert submission.failure.provider_code == kind


async def test_a_guest_that_takes_too_long_may_be_asked_again(stage):
    stage.install(limits=Limits(fuel=2_000_000_000, deadline_ms=10))
    submission = await stage.host.deliver(request(script(do="loop")), "puppet")
    assert submission.failure.code is FailureCode.PROVIDER_ERROR
    assert submission.failure.provider_code == "adapter_deadline"


async def test_everything_that_is_known_of_a_message_that_was_taken(stage):
    stage.install()
    stage.answer(CREATED)
    done = {"ok": True, "level": "sent", "provider_ids": ["SM1", "SM2"], "segments": 2}
    submission = await stage.host.deliver(request(script(POST, {"done": done})), "puppet")
    assert submission.level is Level.SENT
    assert submission.provider_ids == ("SM1", "SM2")
    assert submission.segments == 2


async def test_everything_that_is_known_of_a_failure_within_bounds(stage):
    stage.install()
    stage.answer(REFUSED)
    says = failed("provider_throttled", provider_code="9" * 100, detail="x" * 1000, retry_after=7.5)
    submission = await stage.host.deliver(request(script(POST, says)), "puppet")
    assert submission.retry_after == 7.5
    assert submission.failure.provider_code == "9" * 64
    assert submission.failure.detail == "x" * 500


TELL = '{"sendHttp": {"method": "POST", "url": "https://api.example.com/", "body": $TEXT}}'


async def test_what_a_guest_is_told_of_a_message(stage):
    installed = stage.install()
    http = stage.answer(CREATED)
    order = request(
        script(TELL, OK, given=True),
        tenant="a/c me",
        attempt=3,
        channel="email",
        sender="news@example.com",
        category=Category.OTP,
    )
    content = {
        "subject": "Hello",
        "html": "<p>Hello</p>",
        "template": Template("welcome", "da", ("Ada",)),
        "data": {"kind": "test"},
    }
    order = replace_content(order, **content)
    stage.tenants.activate(replace(installed, tenant="a/c me"))
    stage.answer(CREATED, tenant="a/c me")
    http = stage.way.answers["a/c me"]
    await stage.host.deliver(order, "puppet")
    (told,) = msgspec.json.decode(http.requests[0].body)
    ref = told.pop("reference")
    assert reference.read(KEY, "a/c me", "puppet", ref) == (order.message, 3, "a" * 8)
    assert told == {
        "id": order.message,
        "attempt": 3,
        "channel": "email",
        "to": "+4520123456",
        "from": "news@example.com",
        "content": {
            "text": order.content.text,
            **content,
            "template": {"name": "welcome", "language": "da", "parameters": ["Ada"]},
        },
        "category": "otp",
        "callback_url": f"https://hermes.example/v1/webhooks/a%2Fc%20me/puppet?ref={ref}",
        "not_after": told["not_after"],
        "unsubscribe_url": None,
    }
    assert datetime.fromisoformat(told["not_after"]) == order.not_after


def replace_content(order: DeliveryRequest, **more) -> DeliveryRequest:
    content = msgspec.structs.replace(order.content, **more)
    return msgspec.structs.replace(order, content=content)


async def test_a_secret_reads_as_a_placeholder(stage):
    stage.install(health="unused")
    http = stage.answer(CREATED)
    keys = [["config", key] for key in ("health", "count", "key", "other")]
    await stage.host.deliver(request(script(TELL, OK, host=keys)), "puppet")
    told = msgspec.json.decode(http.requests[0].body)
    assert told == ["unused", "5", "{{secret:key:sealed}}", None]


NOT_TRIED = [
    ({"not_after": NOW - timedelta(seconds=1)}, "puppet", "too_late"),
    ({}, "other", "not_supported"),
    ({"tenant": "another"}, "puppet", "not_supported"),
    ({"channel": "push"}, "puppet", "not_supported"),
]


@pytest.mark.parametrize(("more", "adapter", "code"), NOT_TRIED)
async def test_what_is_not_tried_at_all(stage, more, adapter, code):
    stage.install()
    http = stage.answer(CREATED)
    submission = await stage.host.deliver(request(script(POST, OK), **more), adapter)
    assert submission.state is FAILED
    assert submission.failure.code.value == code
    assert http.requests == []


async def test_a_configuration_that_is_refused(stage):
    stage.install(refuse="no such account")
    submission = await stage.host.deliver(request(script(OK)), "puppet")
    assert submission.failure.code is FailureCode.CONFIGURATION
    assert "no such account" in submission.failure.detail


async def test_a_component_that_is_gone(stage, tmp_path):
    installed = stage.install()
    stage.tenants.activate(replace(installed, component=tmp_path / "gone.wasm"))
    submission = await stage.host.deliver(request(script(OK)), "puppet")
    assert submission.failure.code is FailureCode.CONFIGURATION
    assert "cannot be read" in submission.failure.detail


async def test_a_way_out_that_breaks_down_is_a_failure_too(stage):
    class Broken:
        async def send(self, request):
            raise RuntimeError("a fault of ours")

    stage.install()
    stage.way.answers["acme"] = Broken()
    submission = await stage.host.deliver(request(script(POST, OK)), "puppet")
    assert submission.state is UNKNOWN


async def test_the_store_is_written_after_a_call_that_succeeded(stage):
    stage.install()
    stage.answer(CREATED)
    for _ in range(2):
        await stage.host.deliver(request(script(POST, OK, host=[["set", "a", "1"]])), "puppet")
    assert stage.values.kept == {("acme", "puppet"): {"a": "1"}}
    await stage.host.deliver(request(script("nonsense", host=[["set", "a", "2"]])), "puppet")
    assert stage.values.kept == {("acme", "puppet"): {"a": "1"}}


async def test_the_store_shows_what_others_have_written(stage):
    stage.install()
    http = stage.answer(CREATED)
    for value in ("1", "2"):
        stage.values.kept["acme", "puppet"] = {"a": value}
        await stage.host.deliver(request(script(TELL, OK, host=[["get", "a"]])), "puppet")
    assert [msgspec.json.decode(each.body) for each in http.requests] == [["1"], ["2"]]


async def test_a_store_that_cannot_be_written_undoes_nothing(stage):
    stage.install()
    stage.answer(CREATED)
    stage.values.broken = True
    submission = await stage.host.deliver(
        request(script(POST, OK, host=[["set", "a", "1"]])), "puppet"
    )
    assert submission.state is TAKEN


class Held:
    """A provider that answers when it is told to."""

    def __init__(self):
        self.asked = 0
        self.go = asyncio.Event()

    async def send(self, request):
        self.asked += 1
        await self.go.wait()
        return CREATED


async def test_many_calls_are_under_way_at_once(stage):
    stage.install(limits=msgspec.structs.replace(PATIENT, memory_mb=16))
    held = stage.way.answers["acme"] = Held()
    calls = [
        asyncio.create_task(stage.host.deliver(request(script(POST, OK)), "puppet"))
        for _ in range(50)
    ]
    await eventually(lambda: held.asked == 50)
    held.go.set()
    assert {each.state for each in await asyncio.gather(*calls)} == {TAKEN}


async def test_a_call_that_is_broken_off_takes_its_instance_along(stage):
    stage.install()
    held = stage.way.answers["acme"] = Held()
    call = asyncio.create_task(stage.host.deliver(request(script(POST, OK)), "puppet"))
    await eventually(lambda: held.asked)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    stage.answer(CREATED)
    submission = await stage.host.deliver(request(script(POST, OK)), "puppet")
    assert submission.state is TAKEN


async def test_a_call_ends_on_the_version_that_it_began_with(stage):
    first = stage.install(health="first")
    held = stage.way.answers["acme"] = Held()
    tell = script(POST, TELL, OK, host=[["config", "health"]])
    before = asyncio.create_task(stage.host.deliver(request(tell), "puppet"))
    await eventually(lambda: held.asked)
    stage.tenants.activate(
        replace(first, version="b" * 64, values={"health": "second"}, revision=2)
    )
    http = stage.answer(CREATED)
    after = await stage.host.deliver(
        request(script(TELL, OK, host=[["config", "health"]])), "puppet"
    )
    assert after.state is TAKEN
    assert msgspec.json.decode(http.requests[0].body) == ["second"]
    held.go.set()
    assert (await before).state is TAKEN


async def test_a_new_configuration_counts_from_the_next_call_on(stage):
    installed = stage.install(health="first")
    http = stage.answer(CREATED)
    tell = script(TELL, OK, host=[["config", "health"]])
    await stage.host.deliver(request(tell), "puppet")
    stage.configure(installed, health="second")
    await stage.host.deliver(request(tell), "puppet")
    told = [msgspec.json.decode(each.body) for each in http.requests]
    assert told == [["first"], ["second"]]


@pytest.mark.parametrize("stage", ["in threads"], indirect=True)
async def test_a_tenants_endless_loops_are_not_another_tenants_wait(stage):
    limits = Limits(fuel=2_000_000_000, deadline_ms=100)
    stage.install("hostile", limits=limits)
    stage.install("acme")
    stage.answer(CREATED)
    loops = [
        asyncio.create_task(
            stage.host.deliver(request(script(do="loop"), tenant="hostile"), "puppet")
        )
        for _ in range(10)
    ]
    ok = [await stage.host.deliver(request(script(POST, OK)), "puppet") for _ in range(5)]
    assert {each.state for each in ok} == {TAKEN}
    # One after another, since they are one tenant's: they were not waited for.
    assert not all(each.done() for each in loops)
    assert {each.state for each in await asyncio.gather(*loops)} == {FAILED}
