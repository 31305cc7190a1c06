"""`hermes callbacks`, against what the API answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.cli.conftest import api, run  # noqa: F401

NAME = "cbe_3f2a9c1d5e7b8a6c4d0e1f2a"
PATH = f"/v1/callbacks/{NAME}"


def ago(minutes):
    return (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()


ENDPOINT = {
    "id": NAME,
    "kind": "endpoint",
    "url": "https://shop.example/hermes",
    "state": "down",
    "events": ["message.delivered", "message.failed"],
    "description": "orders",
    "created_at": ago(9000),
    "disabled_at": None,
    "disabled_because": None,
    "backlog": {"waiting": 10000, "more": True, "oldest": ago(120), "next_try_at": ago(-5)},
    "health": {
        "failures": 17,
        "failing_since": ago(120),
        "delivered_at": ago(121),
        "failed_at": ago(1),
        "error": "HTTP 500",
    },
    "secrets": [
        {"created_at": ago(10), "expires_at": None},
        {"created_at": ago(9000), "expires_at": ago(-600)},
    ],
}
EVENT = {
    "id": "msg_1.ended",
    "type": "message.delivered",
    "message": "msg_1",
    "state": "waiting",
    "tries": 3,
    "created_at": ago(10),
    "settled_at": None,
    "next_try_at": ago(-60),
    "error": "HTTP 500",
}


def test_the_list_shows_what_waits_and_why(api, run):  # noqa: F811
    api.answer("GET", "/v1/callbacks", 200, {"data": [ENDPOINT], "next_cursor": "cbo_1"})
    result = run("callbacks", "list")
    assert "More hosts: hermes callbacks list --cursor cbo_1" in result.output
    for said in (NAME, "down", "10,000+", "2 h", "HTTP 500", "https://shop.example/hermes"):
        assert said in result.output


def test_an_endpoint_shows_how_it_does(api, run):  # noqa: F811
    api.answer("GET", PATH, 200, ENDPOINT)
    result = run("callbacks", "show", NAME)
    for said in ("delivered, failed", "17 times in a row: HTTP 500", "signs until", "last 2 h"):
        assert said in result.output, result.output


def test_a_new_endpoint_shows_its_secret_on_its_own_line(api, run):  # noqa: F811
    api.answer("POST", "/v1/callbacks", 201, {**ENDPOINT, "secret": "whsec_abc="})
    result = run("callbacks", "add", ENDPOINT["url"], "--event", "delivered")
    assert result.stdout.splitlines() == [NAME, "whsec_abc="]
    [(*_, body)] = api.requests
    assert body == {"url": ENDPOINT["url"], "description": "", "events": ["message.delivered"]}


def test_an_event_that_does_not_exist(api, run):  # noqa: F811
    result = run("callbacks", "add", ENDPOINT["url"], "--event", "opened")
    assert result.exit_code == 2
    assert "none of submitted, attempt_failed" in result.output
    assert api.requests == []


@pytest.mark.parametrize(
    ("answer", "said", "code"),
    [
        ({"delivered": True, "status": 204, "error": None, "took": 0.02}, "HTTP 204", 0),
        ({"delivered": False, "status": None, "error": "TimeoutError", "took": 10}, "Timeout", 1),
    ],
)
def test_a_test_says_what_came_of_it(api, run, answer, said, code):  # noqa: F811
    api.answer("POST", f"{PATH}/test", 200, answer)
    result = run("callbacks", "test", NAME)
    assert (result.exit_code, said in result.output) == (code, True)


def test_events_say_when_they_are_tried_again(api, run):  # noqa: F811
    api.answer("GET", f"{PATH}/events", 200, {"data": [EVENT], "next_cursor": "MQ"})
    result = run("callbacks", "events", NAME, "--state", "waiting")
    assert "again at" in result.output
    assert "--cursor MQ" in result.stderr
    assert api.requests[0][1] == f"{PATH}/events?state=waiting&limit=20"


def test_an_event_whose_time_has_come_is_not_tried_again_in_the_past(api, run):  # noqa: F811
    due = {**EVENT, "next_try_at": ago(1)}
    api.answer("GET", f"{PATH}/events", 200, {"data": [due], "next_cursor": None})
    output = run("callbacks", "events", NAME).output
    assert "again in its turn: HTTP 500" in output
    assert "again at" not in output


def test_a_replay_of_an_event_that_was_not_told(api, run):  # noqa: F811
    api.answer("POST", f"{PATH}/replay", 200, {"replayed": 0, "more": False})
    result = run("callbacks", "replay", NAME, "--event", "nosuch")
    assert result.exit_code == 1
    assert f"{NAME} was told no event nosuch" in result.output
    assert run("callbacks", "replay", NAME, "--since", "2026-05-01T00:00:00Z").exit_code == 0


def test_a_replay_needs_to_know_which(api, run):  # noqa: F811
    assert run("callbacks", "replay", NAME).exit_code == 2
    api.answer("POST", f"{PATH}/replay", 200, {"replayed": 1200, "more": False})
    result = run("callbacks", "replay", NAME, "--since", "2026-05-01T00:00:00Z")
    assert result.output == "1,200 events are told again.\n"


@pytest.mark.parametrize(
    ("command", "body", "said"),
    [
        ("disable", {"enabled": False}, "its events wait"),
        ("enable", {"enabled": True}, "beginning with the 10,000+ that waited"),
    ],
)
def test_an_endpoint_is_disabled_and_enabled(api, run, command, body, said):  # noqa: F811
    api.answer("PATCH", PATH, 200, ENDPOINT)
    result = run("callbacks", command, NAME)
    assert said in result.output
    assert api.requests[0][3] == body


def test_a_removal_is_asked_for(api, run):  # noqa: F811
    assert run("callbacks", "remove", NAME).exit_code == 2
    assert api.requests == []
    api.answer("DELETE", PATH, 200, {"id": NAME, "removed": True})
    assert run("callbacks", "remove", NAME, "--yes").output == f"{NAME} is removed.\n"


def test_a_rotation_shows_the_secret_and_the_grace(api, run):  # noqa: F811
    api.answer("POST", f"{PATH}/rotate", 200, {**ENDPOINT, "secret": "whsec_new="})
    result = run("callbacks", "rotate", NAME, "--grace", "2h")
    assert result.stdout == "whsec_new=\n"
    assert "for 2 h" in result.stderr
    assert api.requests[0][3] == {"grace": 7200.0}
    at_once = run("callbacks", "rotate", NAME, "--grace", "0s")
    assert "stops signing at once" in at_once.stderr


@pytest.mark.parametrize(
    ("callback", "said"),
    [
        ({"state": "delivered", "tries": 1}, "told: delivered to cbe_3f2a9c1d5e7"),
        ({"state": "delivered", "tries": 4}, "4 tries"),
        ({"state": "waiting", "tries": 2, "error": "HTTP 500"}, "waits to be told: delivered"),
        ({"state": "given_up", "tries": 40, "error": "HTTP 500"}, "not told: delivered"),
    ],
)
def test_the_timeline_has_a_line_for_each_endpoint(api, run, callback, said):  # noqa: F811
    line = {
        "at": "2026-05-01T12:00:01Z",
        "event": "callback",
        "callback": {
            "id": "msg_1.ended",
            "endpoint": NAME,
            "type": "message.delivered",
            "next_try_at": None,
            "error": None,
            **callback,
        },
    }
    message = {
        "id": "msg_1",
        "status": "delivered",
        "created_at": "2026-05-01T12:00:00Z",
        "ended_at": "2026-05-01T12:00:01Z",
        "to": {"sms": "+4520123456"},
        "plan": [],
        "timeline": [{"at": "2026-05-01T12:00:00Z", "event": "accepted"}, line],
    }
    api.answer("GET", "/v1/messages/msg_1", 200, message)
    shown = run("messages", "show", "msg_1").output
    assert said in shown
    assert (callback.get("error") or "") in shown
