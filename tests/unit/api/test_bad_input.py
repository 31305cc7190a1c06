"""What bad input gets: a problem with a stable code, and nothing else happens."""

import copy
import json

import pytest

from handlers.api.problems import FIELD_ERRORS, PROBLEMS
from tests.unit.api.conftest import MESSAGE


def message(**changes):
    return {**copy.deepcopy(MESSAGE), **changes}


def step(**fields):
    return message(plan=[{"channel": "sms", **fields}])


def sms(number):
    return message(to={"sms": number})


def text(value):
    return message(content={"text": value})


BODIES_REFUSED = {
    "no_body": (b"", 400, "body_required"),
    "not_json": (b"hello", 400, "malformed_json"),
    "broken_off": (b'{"to": {"sms": ', 400, "malformed_json"),
    "not_utf8": (b'{"to": {"sms": "\xff"}}', 400, "malformed_json"),
    "lone_surrogate": (
        rb'{"to": {"sms": "+4520123456"}, "content": {"text": "\ud800"}}',
        400,
        "malformed_json",
    ),
    "nested_without_end": (b'{"to":' + b"[" * 50_000, 400, "malformed_json"),
    "over_the_limit": (b" " * (64 * 1024 + 1), 413, "body_too_large"),
}

FAULTS = {
    "array_for_object": ([], "wrong_type", ""),
    "nothing_there": ({}, "required", "/to"),
    "no_content": ({"to": {"sms": "+4520123456"}}, "required", "/content"),
    "unknown_field": (message(txt="x"), "unknown_field", "/txt"),
    "unknown_field_with_a_slash": (message(**{"a/b~c": 1}), "unknown_field", "/a~1b~0c"),
    "unknown_field_in_content": (
        message(content={"text": "x", "body": "y"}),
        "unknown_field",
        "/content/body",
    ),
    "no_recipient": (message(to={}), "no_recipient", "/to"),
    "address_is_a_number": (message(to={"sms": 4520123456}), "wrong_type", "/to/sms"),
    "address_without_end": (sms("+" + "4" * 600), "too_long", "/to/sms"),
    "unknown_channel": (message(to={"pigeon": "x"}), "unknown_channel", "/to/pigeon"),
    "number_with_spaces": (sms("+45 20123456"), "not_a_number", "/to/sms"),
    "number_too_short": (sms("+45201234"), "number_too_short", "/to/sms"),
    "number_too_long": (sms("+452012345678"), "number_too_long", "/to/sms"),
    "unknown_country": (sms("+99920123456"), "unknown_country", "/to/sms"),
    "invalid_number": (sms("+4510000000"), "invalid_number", "/to/sms"),
    "fixed_line": (sms("+493012345678"), "not_a_mobile", "/to/sms"),
    "bad_address": (message(to={"email": "anna"}), "invalid_email_address", "/to/email"),
    "empty_text": (text(""), "empty_text", "/content/text"),
    "text_is_null": (text(None), "wrong_type", "/content/text"),
    "text_with_nul": (text("a\0b"), "nul_character", "/content/text"),
    "metadata_key_with_nul": (message(metadata={"a\0": "b"}), "nul_character", "/metadata/a\0"),
    "too_many_segments": (text("a" * 1531), "too_many_segments", "/content/text"),
    "subject_with_line_break": (
        {"to": {"email": "a@example.com"}, "content": {"text": "x", "subject": "a\nb"}},
        "invalid_subject",
        "/content/subject",
    ),
    "empty_plan": (message(plan=[]), "empty_plan", "/plan"),
    "eleven_steps": (message(plan=[{"channel": "sms"}] * 11), "too_long", "/plan"),
    "channel_without_address": (
        message(plan=[{"channel": "email"}]),
        "no_address_for_channel",
        "/plan/0/channel",
    ),
    "step_on_unknown_channel": (step(channel="fax"), "unknown_channel", "/plan/0/channel"),
    "timeout_beyond_ttl": (
        message(ttl=60, plan=[{"channel": "sms", "timeout": 61}]),
        "timeout_beyond_ttl",
        "/plan/0/timeout",
    ),
    "ttl_too_short_for_default_plan": (
        message(to={"sms": "+4520123456", "email": "a@example.com"}, ttl=1),
        "timeout_beyond_ttl",
        "/ttl",
    ),
    "timeout_zero": (step(timeout=0), "out_of_range", "/plan/0/timeout"),
    "timeout_as_text": (step(timeout="60"), "wrong_type", "/plan/0/timeout"),
    "timeout_true": (step(timeout=True), "wrong_type", "/plan/0/timeout"),
    "timeout_nan": (step(timeout=float("nan")), "out_of_range", "/plan/0/timeout"),
    "ttl_infinity": (message(ttl=float("inf")), "out_of_range", "/ttl"),
    "ttl_beyond_a_week": (message(ttl=604_801), "out_of_range", "/ttl"),
    "unknown_level": (step(success="eaten"), "unknown_value", "/plan/0/success"),
    "sms_cannot_be_read": (step(success="read"), "success_not_provable", "/plan/0/success"),
    "relay_cannot_prove_delivery": (
        message(to={"email": "a@example.com"}, plan=[{"channel": "email", "success": "delivered"}]),
        "success_not_provable",
        "/plan/0/success",
    ),
    "unknown_failure_code": (step(failover_on=["bad"]), "unknown_value", "/plan/0/failover_on/0"),
    "sender_too_long": (step(sender="Twelve chars"), "invalid_sms_sender", "/plan/0/sender"),
    "empty_provider": (step(provider=""), "too_short", "/plan/0/provider"),
    "unknown_category": (message(category="spam"), "unknown_value", "/category"),
    "unknown_policy": (message(delivery_policy="once"), "unknown_value", "/delivery_policy"),
    "send_at_past": (message(send_at="2026-05-01T11:58:00Z"), "send_at_in_past", "/send_at"),
    "send_at_far": (message(send_at="2026-06-06T12:00:00Z"), "send_at_too_far", "/send_at"),
    "send_at_year_1": (message(send_at="0001-01-01T00:00:00+14:00"), "send_at_in_past", "/send_at"),
    "send_at_year_9999": (
        message(send_at="9999-12-31T23:59:59-14:00"),
        "send_at_too_far",
        "/send_at",
    ),
    "send_at_without_offset": (
        message(send_at="2026-05-01T13:00:00"),
        "invalid_datetime",
        "/send_at",
    ),
    "send_at_number": (message(send_at=1_777_777_777), "invalid_datetime", "/send_at"),
    "send_at_number_as_text": (message(send_at="1777777777"), "invalid_datetime", "/send_at"),
    "send_at_february_30": (
        message(send_at="2026-02-30T12:00:00Z"),
        "invalid_datetime",
        "/send_at",
    ),
    "metadata_21_keys": (
        message(metadata={str(i): "x" for i in range(21)}),
        "metadata_too_large",
        "/metadata",
    ),
    "metadata_long_key": (
        message(metadata={"k" * 41: "x"}),
        "metadata_too_large",
        "/metadata/" + "k" * 41,
    ),
    "metadata_long_value": (
        message(metadata={"k": "x" * 501}),
        "metadata_too_large",
        "/metadata/k",
    ),
    "metadata_number": (message(metadata={"k": 1}), "wrong_type", "/metadata/k"),
}

CALLBACKS_REFUSED = {
    "http": "http://example.com/x",
    "relative": "/callback",
    "no_host": "https:///x",
    "other_scheme": "ftp://example.com/x",
    "credentials": "https://user:secret@example.com/",
    "fragment": "https://example.com/#x",
    "loopback": "https://127.0.0.1/",
    "loopback_v6": "https://[::1]/",
    "mapped_v6": "https://[::ffff:127.0.0.1]/",
    "short_loopback": "https://127.1/",
    "integer_loopback": "https://2130706433/",
    "hexadecimal_loopback": "https://a.0x7f/",
    "metadata_service": "https://169.254.169.254/latest",
    "private": "https://10.0.0.8/",
    "localhost": "https://localhost/",
    "subdomain_of_localhost": "https://api.localhost/",
    "bad_port": "https://example.com:99999/",
    "bad_brackets": "https://[::1/",
    "line_break": "https://example.com/\r\nX: y",
    "space": "https://example.com/a b",
    "backslash": "https://example.com\\@evil.example",
    "too_long": "https://example.com/" + "x" * 2048,
}


@pytest.mark.parametrize(("body", "status", "code"), BODIES_REFUSED.values(), ids=BODIES_REFUSED)
async def test_a_body_that_cannot_be_read_is_refused(world, body, status, code):
    answer = await world.post(body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert world.nothing_happened()


NO_NUMBERS = {"nan": "NaN", "infinity": "-Infinity", "beyond_a_double": "1e400"}


@pytest.mark.parametrize("number", NO_NUMBERS.values(), ids=NO_NUMBERS)
@pytest.mark.parametrize("nul", ["", r"\u0000"], ids=["plain", "with_a_nul"])
async def test_what_only_some_take_for_json_is_refused_with_a_key_too(world, number, nul):
    values = f'{{"n": {number}, "t": "{nul}"}}'
    body = f'{{"to": {{"sms": "+4520123456"}}, "template": {{"name": "x", "variables": {values}}}}}'
    answer = await world.post(body.encode(), headers={"Idempotency-Key": "once"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")
    assert world.nothing_happened()


@pytest.mark.parametrize(("body", "code", "pointer"), FAULTS.values(), ids=FAULTS)
async def test_a_fault_is_named_and_pointed_at(world, body, code, pointer):
    answer = await world.post(json.dumps(body).encode())
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "validation_failed")
    assert (code, pointer) in [(e["code"], e["pointer"]) for e in problem["errors"]]
    assert all(error["code"] in FIELD_ERRORS and error["detail"] for error in problem["errors"])
    assert world.engine.calls == 0
    assert world.nothing_happened()


@pytest.mark.parametrize("url", CALLBACKS_REFUSED.values(), ids=CALLBACKS_REFUSED)
async def test_a_callback_must_be_public_https(world, url):
    answer = await world.post(message(status_callback=url))
    assert [e["code"] for e in answer.json()["errors"]] == ["invalid_callback_url"]
    assert world.nothing_happened()


async def test_a_public_callback_is_kept(world):
    url = "https://hooks.example.com:8443/hermes?tenant=a"
    assert (await world.post(message(status_callback=url))).status_code == 202
    (order,) = world.engine.held.values()
    assert order.status_callback == url


async def test_all_faults_are_reported_together(world):
    answer = await world.post(
        {
            "to": {"sms": "+45201234", "email": "anna"},
            "content": {"text": "a" * 2000},
            "plan": [{"channel": "sms", "timeout": 60}],
            "ttl": 30,
            "send_at": "2020-01-01T00:00:00Z",
            "status_callback": "http://example.com",
        }
    )
    assert {error["pointer"] for error in answer.json()["errors"]} == {
        "/to/sms",
        "/to/email",
        "/content/text",
        "/plan/0/timeout",
        "/send_at",
        "/status_callback",
    }


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_another_media_type_is_refused(world, media_type):
    answer = await world.post(json.dumps(MESSAGE).encode(), headers={"Content-Type": media_type})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_a_compressed_body_is_refused(world):
    answer = await world.post(b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_a_charset_is_no_other_media_type(world):
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    answer = await world.post(json.dumps(MESSAGE).encode(), headers=headers)
    assert answer.status_code == 202


async def test_a_body_over_the_limit_is_not_read_to_its_end(world):
    read = 0

    async def endless():
        nonlocal read
        while True:
            read += 8192
            yield b" " * 8192

    answer = await world.request(
        "POST", "/v1/messages", content=endless(), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413
    assert read <= 2 * 64 * 1024


async def test_an_escaped_backslash_before_u0000_is_no_nul(world):
    answer = await world.post(rb'{"to":{"sms":"+4520123456"},"content":{"text":"a\\u0000"}}')
    assert answer.status_code == 202


async def test_a_path_that_is_not_there(world):
    answer = await world.get("/v1/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_method_that_a_path_does_not_know(world):
    answer = await world.request("PUT", "/v1/messages/msg_1")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"]


async def test_a_problem_follows_rfc_9457(world):
    problem = (await world.post(b"x")).json()
    assert problem["type"] == "/problems/malformed_json"
    assert problem["title"] == PROBLEMS["malformed_json"].title
    assert problem["status"] == 400


async def test_a_failure_anywhere_is_a_problem_with_the_number_of_its_log_line(world):
    world.log.broken = True
    answer = await world.get("/v1/messages")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.json()["instance"].startswith("urn:uuid:")
    assert "disk" not in answer.text


async def test_a_path_that_no_database_takes_is_not_found(world):
    answer = await world.get("/v1/messages/%00")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


ALLOWED = {
    # a path, and the methods that it knows
    "/v1/messages": "GET, POST",
    "/v1/messages/batch": "POST",
    "/v1/messages/msg_01JG3T5C8VE7Q9X2B4N6M8P0RS": "DELETE, GET",
    "/v1/callbacks/nothing": "DELETE, GET, PATCH",
}


@pytest.mark.parametrize(("path", "methods"), ALLOWED.items(), ids=ALLOWED)
@pytest.mark.parametrize("method", ["PUT", "OPTIONS"])
async def test_a_method_that_the_path_does_not_know(world, method, path, methods):
    answer = await world.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == methods


async def test_a_fixed_path_is_no_ones_id(world):
    answer = await world.get("/v1/messages/batch")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
