"""POST /v1/messages: from a request to an order that Restate holds."""

import asyncio
import copy
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from domain.ids import is_message_id
from domain.message import Category, DeliveryPolicy, Level
from domain.timeline import Status
from handlers.api.problems import PROBLEMS
from handlers.api.services import Limits
from tests.unit.api.conftest import BOB, MESSAGE
from tests.waiting import eventually

BOTH = {
    "to": {"email": "Anna@EXAMPLE.com", "sms": "+4520123456"},
    "content": {"text": "Your table is ready.\nSee you."},
}


def only_order(world):
    (order,) = world.engine.held.values()
    return order


async def test_a_message_is_held_then_listed_then_answered(world):
    answer = await world.post()
    body = answer.json()
    assert answer.status_code == 202
    assert is_message_id(body["id"])
    assert answer.headers["location"] == f"/v1/messages/{body['id']}"
    assert body == {
        "id": body["id"],
        "status": "processing",
        "created_at": "2026-05-01T12:00:00Z",
        "send_at": None,
        "expires_at": "2026-05-02T12:00:00Z",
        "sms": {"encoding": "gsm7", "segments": 1},
        "mode": "live",
        "verdicts": [],
        "links": {"self": f"/v1/messages/{body['id']}"},
    }
    assert list(world.engine.held) == list(world.log.rows) == [body["id"]]


async def test_what_is_left_out_takes_the_default(world):
    await world.post(BOTH)
    order = only_order(world)
    assert order.tenant == "alice"
    assert order.to == {"sms": "+4520123456", "email": "Anna@example.com"}
    assert [(s.channel, s.timeout, s.success) for s in order.plan] == [
        ("sms", 60, Level.DELIVERED),
        ("email", 300, Level.SENT),
    ]
    assert order.content.subject == "Your table is ready."
    assert (order.category, order.policy) == (
        Category.TRANSACTIONAL,
        DeliveryPolicy.AT_LEAST_ONCE,
    )
    assert order.accepted_at == world.clock.now
    assert order.expires_at == world.clock.now + timedelta(hours=24)
    assert (order.send_at, order.status_callback, order.fingerprint) == (None, None, None)


async def test_what_is_stated_is_kept(world):
    plan = [
        {
            "channel": "email",
            "timeout": 20,
            "success": "accepted",
            "failover_on": ["provider_error"],
            "provider": "relay-2",
            "sender": "Shop <shop@hermes.example>",
        },
        {"channel": "sms", "timeout": 5.5, "sender": "Shop"},
        {"channel": "sms"},
    ]
    body = {
        **BOTH,
        "plan": plan,
        "ttl": 90,
        "category": "otp",
        "delivery_policy": "at_most_once",
        "metadata": {"order": "1234", "ø": "✓"},
    }
    assert (await world.post(body)).status_code == 202
    order = only_order(world)
    first, second, third = order.plan
    assert (first.channel, first.timeout, first.success) == ("email", 20, Level.ACCEPTED)
    assert (first.failover_on, first.provider) == (("provider_error",), "relay-2")
    assert first.sender == "Shop <shop@hermes.example>"
    assert (second.timeout, second.sender) == (5.5, "Shop")
    assert third.timeout == 30
    assert order.expires_at == order.accepted_at + timedelta(seconds=90)
    assert order.policy is DeliveryPolicy.AT_MOST_ONCE
    assert order.metadata == {"order": "1234", "ø": "✓"}


async def test_a_scheduled_message_expires_after_its_send_time(world):
    answer = await world.post({**MESSAGE, "send_at": "2026-05-02T09:30:00.1239+02:00", "ttl": 60})
    body = answer.json()
    assert (body["status"], body["send_at"]) == ("scheduled", "2026-05-02T07:30:00.123000Z")
    assert body["expires_at"] == "2026-05-02T07:31:00.123000Z"
    assert only_order(world).send_at == datetime(2026, 5, 2, 7, 30, 0, 123000, UTC)
    assert world.log.rows[body["id"]].status is Status.SCHEDULED


async def test_a_send_time_a_moment_ago_means_now(world):
    answer = await world.post({**MESSAGE, "send_at": "2026-05-01T11:59:30Z"})
    assert (answer.status_code, answer.json()["status"]) == (202, "processing")


async def test_an_email_has_no_segments(world):
    answer = await world.post({"to": {"email": "a@example.com"}, "content": {"text": "x"}})
    assert answer.json()["sms"] is None


async def test_a_text_that_no_sms_could_carry_is_fine_for_email(world):
    body = {"to": {"email": "a@example.com"}, "content": {"text": "x" * 5000}}
    assert (await world.post(body)).status_code == 202


async def test_ids_sort_by_time(world):
    first = (await world.post()).json()["id"]
    world.clock.now += timedelta(milliseconds=1)
    second = (await world.post()).json()["id"]
    assert first < second


async def test_restate_down_is_503_with_retry_after_and_nothing_listed(world):
    world.engine.down = True
    answer = await world.post()
    assert (answer.status_code, answer.json()["code"]) == (503, "engine_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert world.nothing_happened()


async def test_a_log_that_fails_after_restate_took_the_message_does_not_undo_it(world, caplog):
    world.log.broken = True
    answer = await world.post()
    assert answer.status_code == 202
    assert answer.json()["id"] in caplog.text


async def test_an_unexpected_failure_tells_nothing_and_is_logged(world, caplog):
    world.log.broken = True
    answer = await world.post(headers={"Idempotency-Key": "k"})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (500, "internal_error")
    assert set(problem) == {"type", "title", "status", "code", "detail", "instance"}
    assert problem["detail"] == PROBLEMS["internal_error"].documentation
    assert "disk" not in answer.text
    assert problem["instance"] in caplog.text
    assert world.nothing_happened()


TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENTS = {
    "version_0": (f"00-{TRACE_ID}-00f067aa0ba902b7-01", True),
    "later_version_with_more": (f"cc-{TRACE_ID}-00f067aa0ba902b7-01-what-comes", True),
    "version_0_with_more": (f"00-{TRACE_ID}-00f067aa0ba902b7-01-more", False),
    "version_ff": (f"ff-{TRACE_ID}-00f067aa0ba902b7-01", False),
    "no_trace": (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
    "no_parent": (f"00-{TRACE_ID}-{'0' * 16}-01", False),
    "capitals": (f"00-{TRACE_ID.upper()}-00f067aa0ba902b7-01", False),
    "garbage": ("hello", False),
}


@pytest.mark.parametrize(("header", "valid"), TRACEPARENTS.values(), ids=TRACEPARENTS)
async def test_a_valid_trace_goes_along_and_another_is_ignored(world, header, valid):
    answer = await world.post(headers={"traceparent": header})
    assert answer.status_code == 202
    assert world.engine.traceparents == [header if valid else None]
    assert only_order(world).trace_id == (TRACE_ID if valid else None)


class TestIdempotency:
    HEADERS = {"Idempotency-Key": "order-1234"}

    async def test_a_repeat_gets_the_same_answer_and_sends_nothing(self, world):
        first = await world.post(headers=self.HEADERS)
        world.clock.now += timedelta(hours=1)
        again = await world.post(headers=self.HEADERS)
        assert (again.status_code, again.content) == (202, first.content)
        assert again.headers["location"] == first.headers["location"]
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
        assert len(world.engine.held) == 1

    async def test_the_order_of_keys_makes_no_difference(self, world):
        await world.post(
            b'{"to":{"sms":"+4520123456"},"content":{"text":"x"}}', headers=self.HEADERS
        )
        again = await world.post(
            b'{"content": {"text": "\\u0078"}, "to": {"sms": "+4520123456"}}', headers=self.HEADERS
        )
        assert again.headers["idempotent-replayed"] == "true"

    async def test_another_request_under_the_same_key_is_refused(self, world):
        await world.post(headers=self.HEADERS)
        other = copy.deepcopy(MESSAGE)
        other["content"]["text"] = "Another"
        answer = await world.post(other, headers=self.HEADERS)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
        assert len(world.engine.held) == 1

    async def test_a_repeat_after_the_send_time_has_passed_is_still_a_repeat(self, world):
        body = {**MESSAGE, "send_at": "2026-05-01T13:00:00Z"}
        first = await world.post(body, headers=self.HEADERS)
        world.clock.now += timedelta(hours=2)
        again = await world.post(body, headers=self.HEADERS)
        assert again.content == first.content

    async def test_a_repeat_after_a_crash_between_restate_and_the_log(self, world):
        first = await world.post(headers=self.HEADERS)
        world.log.rows.clear()
        world.clock.now += timedelta(seconds=5)
        again = await world.post(headers=self.HEADERS)
        assert again.content == first.content
        assert again.headers["idempotent-replayed"] == "true"
        assert list(world.log.rows) == [first.json()["id"]]

    async def test_another_request_after_a_crash_is_refused_too(self, world):
        await world.post(headers=self.HEADERS)
        world.log.rows.clear()
        answer = await world.post({**MESSAGE, "ttl": 60}, headers=self.HEADERS)
        assert answer.json()["code"] == "idempotency_key_reused"

    async def test_concurrent_repeats_all_get_the_same_answer(self, world):
        answers = await asyncio.gather(*(world.post(headers=self.HEADERS) for _ in range(20)))
        assert len({answer.content for answer in answers}) == 1
        assert {answer.status_code for answer in answers} == {202}
        assert len(world.engine.held) == 1

    async def test_a_repeat_waits_until_the_first_ones_handler_has_begun(self, world):
        world.engine.begins = False
        first = (await world.post(headers=self.HEADERS)).json()["id"]
        row = world.log.rows.pop(first)
        asked = 0

        async def begins_while_it_is_asked(_):
            nonlocal asked
            asked += 1
            if asked == 2:
                world.log.rows[first] = row

        world.engine.status = begins_while_it_is_asked
        answer = await world.post(headers=self.HEADERS)
        assert (answer.status_code, answer.json()["id"], asked) == (202, first, 2)

    async def test_a_repeat_does_not_wait_for_ever(self, world):
        world.engine.begins = False
        await world.post(headers=self.HEADERS)
        world.log.rows.clear()
        answer = await world.post(headers=self.HEADERS)
        assert (answer.status_code, answer.json()["code"]) == (409, "request_in_progress")
        assert answer.headers["retry-after"]

    async def test_a_refused_request_does_not_use_up_its_key(self, world):
        assert (await world.post({**MESSAGE, "ttl": 0}, headers=self.HEADERS)).status_code == 422
        assert (await world.post(headers=self.HEADERS)).status_code == 202

    @pytest.mark.parametrize("key", ["", "x" * 256, "clé".encode(), "a\tb"])
    async def test_a_key_that_cannot_be_one_is_refused(self, world, key):
        answer = await world.post(headers={"Idempotency-Key": key})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_idempotency_key")
        assert world.nothing_happened()


class TestBatch:
    async def test_each_message_is_accepted_or_refused_on_its_own(self, world):
        bad = {**MESSAGE, "to": {"sms": "+45201234"}}
        answer = await world.batch([MESSAGE, bad, BOTH, "no object"])
        body = answer.json()
        assert (answer.status_code, body["accepted"], body["refused"]) == (202, 2, 2)
        first, second, third, fourth = body["results"]
        assert set(world.engine.held) == {first["message"]["id"], third["message"]["id"]}
        assert second["problem"]["errors"][0]["code"] == "number_too_short"
        assert fourth["problem"]["errors"][0]["code"] == "wrong_type"

    async def test_a_thousand_messages_keep_their_order(self, world):
        messages = [{**MESSAGE, "metadata": {"n": str(n)}} for n in range(1000)]
        results = (await world.batch(messages)).json()["results"]
        ids = [result["message"]["id"] for result in results]
        assert [world.engine.held[i].metadata["n"] for i in ids] == [str(n) for n in range(1000)]

    async def test_a_repeated_batch_gets_the_same_answer(self, world):
        headers = {"Idempotency-Key": "campaign-1"}
        first = await world.batch([MESSAGE, MESSAGE], headers=headers)
        again = await world.batch([MESSAGE, MESSAGE], headers=headers)
        assert again.content == first.content
        assert again.headers["idempotent-replayed"] == "true"
        assert len(world.engine.held) == 2

    async def test_a_batch_taken_in_part_is_completed_by_its_repeat(self, world):
        headers = {"Idempotency-Key": "campaign-1"}
        world.engine.down_after = 1
        part = await world.batch([MESSAGE, MESSAGE], headers=headers)
        assert (part.status_code, part.json()["accepted"]) == (202, 1)
        assert part.json()["results"][1]["problem"]["code"] == "engine_unavailable"
        world.engine.down, world.engine.down_after = False, None
        whole = await world.batch([MESSAGE, MESSAGE], headers=headers)
        assert whole.json()["accepted"] == 2
        assert whole.json()["results"][0] == part.json()["results"][0]
        assert "idempotent-replayed" not in whole.headers
        assert len(world.engine.held) == 2

    async def test_restate_down_for_all_is_503(self, world):
        world.engine.down = True
        answer = await world.batch([MESSAGE, MESSAGE])
        assert (answer.status_code, answer.json()["code"]) == (503, "engine_unavailable")
        assert answer.headers["retry-after"]
        assert world.nothing_happened()

    @pytest.mark.parametrize("database_back_after", [1, None])
    async def test_a_database_that_is_away_is_no_error_of_hermes(
        self, world, monkeypatch, caplog, database_back_after
    ):
        look, looks = world.log.get, 0

        async def get(message_id, **options):
            nonlocal looks
            looks += 1
            if database_back_after is None or looks <= database_back_after:
                raise psycopg.OperationalError("connection refused")
            return await look(message_id, **options)

        monkeypatch.setattr(world.log, "get", get)
        headers = {"Idempotency-Key": "campaign-1"}
        answer = await world.batch([MESSAGE, MESSAGE, MESSAGE], headers=headers)
        assert len(caplog.records) == 1, "one line, not one for each message"
        assert "Traceback" not in caplog.text
        if database_back_after is None:
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
            assert answer.headers["retry-after"]
            assert world.nothing_happened()
        else:
            results = answer.json()["results"]
            assert results[0]["problem"]["code"] == "store_unavailable"
            assert [list(one) for one in results[1:]] == [["message"], ["message"]]

    async def test_a_tenant_whose_messages_have_to_wait_leaves_room_for_others(
        self, world, monkeypatch
    ):
        start, goes_on, waiting = world.engine.start, asyncio.Event(), 0

        async def held_up(message_id, order, **options):
            nonlocal waiting
            if order.tenant == "alice":
                waiting += 1
                await goes_on.wait()
            return await start(message_id, order, **options)

        monkeypatch.setattr(world.engine, "start", held_up)
        slow = asyncio.create_task(world.batch([MESSAGE] * 200))
        await eventually(lambda: waiting == Limits().batch_share)
        async with asyncio.timeout(5):
            answer = await world.batch([MESSAGE, MESSAGE], key=BOB)
        assert answer.json()["accepted"] == 2
        assert waiting == Limits().batch_share
        goes_on.set()
        assert (await slow).json()["accepted"] == 200

    async def test_the_documentation_does_not_promise_that_503_took_nothing(self, world):
        document = (await world.get("/openapi.json")).json()
        said = document["paths"]["/v1/messages/batch"]["post"]["description"]
        assert "none was taken" not in said
        assert "repeat it with the same key" in " ".join(said.split())

    async def test_one_message_that_breaks_hermes_does_not_hide_the_others(self, world, caplog):
        headers = {"Idempotency-Key": "campaign-1"}
        world.log.broken = True
        answer = await world.batch([MESSAGE], headers=headers)
        problem = answer.json()["results"][0]["problem"]
        assert problem["code"] == "internal_error"
        assert problem["instance"] in caplog.text

    FAULTS = {
        "no_messages": (b'{"messages": []}', 422, "too_short", "/messages"),
        "too_many": (b'{"messages": [' + b"{}," * 1000 + b"{}]}", 422, "too_long", "/messages"),
        "no_list": (b'{"messages": {}}', 422, "wrong_type", "/messages"),
        "missing": (b"{}", 422, "required", "/messages"),
        "unknown_field": (b'{"messages": [{}], "x": 1}', 422, "unknown_field", "/x"),
        "no_object": (b"[]", 422, "wrong_type", ""),
    }

    @pytest.mark.parametrize(("body", "status", "code", "pointer"), FAULTS.values(), ids=FAULTS)
    async def test_an_envelope_that_is_none_is_refused(self, world, body, status, code, pointer):
        answer = await world.post(body, "/v1/messages/batch")
        errors = answer.json()["errors"]
        assert answer.status_code == status
        assert [(e["code"], e["pointer"]) for e in errors] == [(code, pointer)]

    @pytest.mark.parametrize(
        "body", [b'{"messages": [', b"x", b'{"messages": [tru]}', b'{"messages": ' + b"[" * 99_999]
    )
    async def test_malformed_json_is_refused(self, world, body):
        answer = await world.post(body, "/v1/messages/batch")
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")

    async def test_bytes_that_are_no_utf8_spoil_one_message_only(self, world):
        good = b'{"to": {"sms": "+4520123456"}, "content": {"text": "x"}}'
        answer = await world.post(
            b'{"messages": [' + good.replace(b"x", b"\xff") + b"," + good + b"]}",
            "/v1/messages/batch",
        )
        first, second = answer.json()["results"]
        assert first["problem"]["code"] == "malformed_json"
        assert "message" in second

    async def test_a_batch_over_five_megabytes_is_refused(self, world):
        answer = await world.post(b" " * 5_000_001, "/v1/messages/batch")
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
