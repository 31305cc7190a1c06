import json
import shlex
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest

ID = "msg_01JX3W5Z8K2V4T7Y9Q0R1S2M3N"
PATH = f"/v1/messages/{ID}"


def view(status, *timeline, **facts):
    return {
        "id": ID,
        "status": status,
        "created_at": "2025-03-04T14:02:07+00:00",
        "ended_at": None,
        "to": {"sms": "+4520123456"},
        "plan": [{"channel": "sms", "timeout": 30.0, "success": "delivered"}],
        "timeline": list(timeline),
        **facts,
    }


ACCEPTED = {"at": "2025-03-04T14:02:07+00:00", "event": "accepted"}
ENDED = {"at": "2025-03-04T14:02:09+00:00", "event": "ended", "status": "delivered"}
DONE = view("delivered", ACCEPTED, ENDED, channel="sms", ended_at="2025-03-04T14:02:09+00:00")


def test_send_says_to_the_api_what_was_said_on_the_command_line(api, run):
    api.answer("POST", "/v1/messages", 202, {"id": ID, "status": "processing"})
    result = run(
        "send", "--to", "sms=+4520123456", "--to", "email=anna@example.com", "--text", "Hi",
        "--subject", "Hello", "--plan", "sms@twilio:30s,email", "--ttl", "2h", "--category", "otp",
        "--metadata", "order=17", "--idempotency-key", "k1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    method, path, headers, body = api.requests[0]
    assert (method, path) == ("POST", "/v1/messages")
    assert headers["Authorization"] == "Bearer hk_test"
    assert headers["Idempotency-Key"] == "k1"
    assert body == {
        "to": {"sms": "+4520123456", "email": "anna@example.com"},
        "content": {"text": "Hi", "subject": "Hello"},
        "plan": [
            {"channel": "sms", "provider": "twilio", "timeout": 30.0},
            {"channel": "email"},
        ],
        "ttl": 7200.0,
        "category": "otp",
        "metadata": {"order": "17"},
    }
    assert ID in result.output


# what is said, what the API is asked for
SAID = {
    "a sender, without a plan": (
        ("--to", "email=a@example.com", "--to", "sms=1", "--text", "Hi", "--sender", "sms=ACME"),
        {
            "to": {"email": "a@example.com", "sms": "1"},
            "content": {"text": "Hi"},
            "plan": [{"channel": "sms", "sender": "ACME"}, {"channel": "email"}],
        },
    ),
    "a sender, with a plan": (
        ("--to", "sms=1", "--text", "Hi", "--plan", "sms:5,sms", "--sender", "sms=ACME"),
        {
            "to": {"sms": "1"},
            "content": {"text": "Hi"},
            "plan": [
                {"channel": "sms", "timeout": 5.0, "sender": "ACME"},
                {"channel": "sms", "sender": "ACME"},
            ],
        },
    ),
    "a provider's template": (
        (
            *("--to", "whatsapp=1", "--provider-template", "order_ready:da"),
            *("--parameter", "17", "--parameter", "noon"),
        ),
        {
            "to": {"whatsapp": "1"},
            "content": {
                "text": "",
                "template": {"name": "order_ready", "language": "da", "parameters": ["17", "noon"]},
            },
        },
    ),
    "data and a callback": (
        (
            *("--to", "push=t", "--text", "Hi", "--data", "screen=order", "--data", "id=17"),
            *("--callback", "https://example.com/ended"),
        ),
        {
            "to": {"push": "t"},
            "content": {"text": "Hi", "data": {"screen": "order", "id": "17"}},
            "status_callback": "https://example.com/ended",
        },
    ),
}


@pytest.mark.parametrize(("said", "asked"), SAID.values(), ids=SAID)
def test_what_send_asks_for(api, run, said, asked):
    api.answer("POST", "/v1/messages", 202, {"id": ID, "status": "processing"})
    result = run("send", *said)
    assert result.exit_code == 0, result.output
    assert api.requests[0][3] == asked


def test_send_watched_draws_the_timeline_and_succeeds(api, run):
    api.answer("POST", "/v1/messages", 202, {"id": ID, "status": "processing"})
    api.answer("GET", PATH, 200, view("processing", ACCEPTED))
    api.answer("GET", PATH, 200, DONE)
    result = run("send", "--to", "sms=+4520123456", "--text", "Hi", "--watch")
    assert result.exit_code == 0, result.output
    assert result.output.count("accepted") == 1
    assert "DELIVERED by sms" in result.output


def test_lines_that_come_before_others_are_drawn_once(api, run):
    def verdict(layer):
        fact = {"layer": layer, "outcome": "change", "detail": f"by {layer}"}
        return {"at": ACCEPTED["at"], "event": "verdict", "verdict": fact}

    verdicts = [verdict("schema"), verdict("enrich")]
    api.answer("POST", "/v1/messages", 202, {"id": ID, "status": "processing"})
    api.answer("GET", PATH, 200, view("processing", *verdicts))
    ended = view("delivered", ACCEPTED, *verdicts, ENDED, channel="sms")
    api.answer("GET", PATH, 200, ended)
    output = run("send", "--to", "sms=1", "--text", "Hi", "--watch").output
    told = ("accepted", "by schema", "by enrich", "DELIVERED")
    assert {said: output.count(said) for said in told} == dict.fromkeys(told, 1)


@pytest.mark.parametrize(
    ("more", "rests"),
    [
        ({"status": "scheduled", "send_at": "TIME"}, {"event": "scheduled", "until": "TIME"}),
        ({"status": "processing"}, {"event": "quiet_hours", "channel": "sms", "until": "TIME"}),
    ],
    ids=["scheduled", "quiet hours"],
)
def test_what_waits_for_long_is_not_watched(api, run, more, rests, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Copenhagen")
    time.tzset()
    until = datetime.now(UTC) + timedelta(hours=8)
    given = {"TIME": until.isoformat()}
    rests = {name: given.get(value, value) for name, value in rests.items()}
    more = {name: given.get(value, value) for name, value in more.items()}
    api.answer("POST", "/v1/messages", 202, {"id": ID, "status": "processing"})
    waiting = view(more.pop("status"), ACCEPTED, {"at": ACCEPTED["at"], **rests}, **more)
    api.answer("GET", PATH, 200, waiting)
    result = run("send", "--to", "sms=+4520123456", "--text", "Hi", "--watch")
    assert result.exit_code == 0, result.output
    local = until.astimezone(ZoneInfo("Europe/Copenhagen"))
    said = f"{local:%d %b %H:%M:%S %Z}"
    assert f"It waits until {said}. To look again: hermes messages show {ID} --follow" in (
        result.output
    )
    assert result.output.count(said) == 2
    monkeypatch.undo()
    time.tzset()


def test_what_waits_for_a_moment_is_watched_to_its_end(api, run):
    soon = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    waits = {"at": ACCEPTED["at"], "event": "scheduled", "until": soon}
    api.answer("POST", "/v1/messages", 202, {"id": ID, "status": "scheduled"})
    api.answer("GET", PATH, 200, view("scheduled", ACCEPTED, waits, send_at=soon))
    api.answer("GET", PATH, 200, view("delivered", ACCEPTED, waits, ENDED, channel="sms"))
    result = run("send", "--to", "sms=1", "--text", "Hi", "--send-at", soon, "--watch")
    assert "DELIVERED by sms" in result.output


def test_watching_a_message_that_fails_is_exit_code_1(api, run):
    api.answer("GET", PATH, 200, view("failed", ACCEPTED, {**ENDED, "status": "failed"}))
    result = run("messages", "show", ID, "--follow")
    assert result.exit_code == 1
    assert "FAILED" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("send", "--to", "+4520123456", "--text", "Hi"),
        ("send", "--to", "sms=+4520123456"),
        ("send", "--to", "sms=1", "--text", "Hi", "--plan", "sms:soon"),
        ("send", "--to", "sms=1", "--text", "Hi", "--plan", ",email"),
        ("send", "--to", "sms=1", "--text", "Hi", "--ttl", "5 parsecs"),
        ("send", "--to", "sms=1", "--text", "Hi", "--sender", "email=a@example.com"),
        ("send", "--to", "sms=1", "--text", "Hi", "--parameter", "17"),
        ("send", "--to", "whatsapp=1", "--provider-template", "order_ready"),
        ("messages", "list", "--status", "lost"),
        ("messages", "list", "--limit", "0"),
        ("up", "--port", "moon=1"),
        ("up", "--port", "api=99999"),
        ("up", "--demo=perhaps"),
        ("nonsense",),
    ],
)
def test_a_wrong_command_line_is_exit_code_2_and_asks_nobody(api, run, arguments):
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert api.requests == []


def test_a_problem_is_shown_with_its_code_and_fields(api, run):
    problem = {
        "title": "Invalid",
        "detail": "The request has one fault.",
        "code": "validation_failed",
        "errors": [{"pointer": "/to/sms", "detail": "The number is too short.", "code": "x"}],
    }
    api.answer("POST", "/v1/messages", 422, problem)
    result = run("send", "--to", "sms=+45", "--text", "Hi")
    assert result.exit_code == 1
    assert "The request has one fault. (validation_failed)" in result.output
    assert "/to/sms: The number is too short." in result.output


def test_an_api_that_is_not_there_is_said_with_what_to_do(api, run):
    result = run("messages", "list", "--api", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "http://127.0.0.1:1 cannot be reached" in result.output
    assert "hermes up" in result.output


def test_an_address_that_is_no_url_is_a_usage_error(api, run):
    assert run("messages", "list", "--api", "localhost:8000").exit_code == 2


def test_list_shows_rows_and_the_way_to_the_next_page(api, run):
    failed = {**DONE, "status": "failed", "failure": {"code": "recipient_invalid"}}
    api.answer("GET", "/v1/messages", 200, {"data": [DONE, failed], "next_cursor": "abc"})
    result = run(
        "messages", "list", "--status", "failed", "--status", "delivered", "--channel", "sms"
    )
    assert result.exit_code == 0, result.output
    assert api.requests[0][1] == "/v1/messages?status=failed&status=delivered&channel=sms&limit=20"
    lines = result.output.splitlines()
    assert lines[1].split()[:3] == [ID, "delivered", "sms"]
    assert "2 s" in lines[1]
    assert "recipient_invalid" in lines[2]
    assert "--cursor abc" in result.output
    assert "\x1b" not in result.output


def test_list_takes_every_filter_of_the_api_and_says_them_again(api, run):
    page = {"data": [DONE], "next_cursor": "abc"}
    api.answer("GET", "/v1/messages", 200, page)
    filters = (
        *("--status", "failed", "--mode", "test", "--metadata", "order=17"),
        *("--metadata", "shop=Main Street", "--created-after", "2026-01-31T09:00:00+01:00"),
        *("--created-before", "2026-02-01T09:00:00Z"),
    )
    result = run("messages", "list", *filters, "--limit", "500")
    [(_, path, _, _)] = api.requests
    assert parse_qs(urlsplit(path).query) == {
        "status": ["failed"],
        "mode": ["test"],
        "metadata.order": ["17"],
        "metadata.shop": ["Main Street"],
        "created_after": ["2026-01-31T09:00:00+01:00"],
        "created_before": ["2026-02-01T09:00:00Z"],
        "limit": ["500"],
    }
    [more] = [line for line in result.output.splitlines() if line.startswith("More: ")]
    again = shlex.split(more.removeprefix("More: "))
    assert again == ["hermes", "messages", "list", *filters, "--cursor", "abc"]


def test_a_narrow_list_shortens_the_id_and_not_the_status(api, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    processing = {**DONE, "status": "processing", "failure": {"code": "recipient_invalid"}}
    api.answer("GET", "/v1/messages", 200, {"data": [processing], "next_cursor": None})
    [_, line] = run("messages", "list").output.splitlines()
    assert line.startswith("msg_01")
    assert " processing " in line
    assert len(line) <= 60


def test_an_empty_list_says_so(api, run):
    api.answer("GET", "/v1/messages", 200, {"data": [], "next_cursor": None})
    assert run("messages", "list").output == "No messages.\n"


@pytest.mark.parametrize(
    ("method", "path", "answer", "arguments"),
    [
        ("POST", "/v1/messages", {"id": ID, "status": "processing"},
         ("send", "--to", "sms=1", "--text", "Hi")),
        ("GET", "/v1/messages", {"data": [DONE], "next_cursor": None}, ("messages", "list")),
        ("GET", PATH, DONE, ("messages", "show", ID)),
        ("DELETE", PATH, {"id": ID, "status": "processing"}, ("messages", "cancel", ID)),
    ],
)  # fmt: skip
def test_json_is_what_the_api_said(api, run, method, path, answer, arguments):
    api.answer(method, path, 200, answer)
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == answer


def test_following_with_json_prints_json_alone_to_standard_output(api, run):
    api.answer("GET", PATH, 200, DONE)
    result = run("messages", "show", ID, "--follow", "--json")
    assert json.loads(result.stdout) == DONE


def test_cancel_of_an_ended_message_is_exit_code_1(api, run):
    problem = {"title": "Ended", "detail": "It has ended.", "code": "already_ended"}
    api.answer("DELETE", PATH, 409, problem)
    result = run("messages", "cancel", ID)
    assert result.exit_code == 1
    assert "already_ended" in result.output


def test_without_any_key_the_way_to_one_is_said(in_empty_directory, run):
    result = run("messages", "list")
    assert result.exit_code == 1
    assert "hermes up" in result.output


def test_the_demo_key_of_the_named_tenant_is_taken(api, in_empty_directory, run, monkeypatch):
    keys = in_empty_directory / ".hermes" / "demo-keys.json"
    keys.parent.mkdir()
    keys.write_text('{"acme": "hk_acme", "globex": "hk_globex"}')
    api.answer("GET", "/v1/messages", 200, {"data": [], "next_cursor": None})
    run("messages", "list", "--api", api.url)
    run("messages", "list", "--api", api.url, "--tenant", "globex")
    sent = [headers["Authorization"] for _, _, headers, _ in api.requests]
    assert sent == ["Bearer hk_acme", "Bearer hk_globex"]
    assert run("keys", "demo", "globex").output == "hk_globex\n"


def test_keys_are_made_listed_and_revoked(in_empty_directory, run):
    from adapters.store.directory import SqliteKeyRing
    from adapters.store.tenants import create_tenant

    (in_empty_directory / ".hermes").mkdir()
    database = in_empty_directory / ".hermes" / "hermes.db"
    create_tenant(database, "acme")
    created = run("keys", "create", "acme", "--note", "for the test")
    key = created.stdout.strip()
    assert created.exit_code == 0, created.output
    ring = SqliteKeyRing(database)
    principal = ring.authenticate(key)
    ring.close()
    assert principal is not None
    assert principal.tenant == "acme"
    (row,) = json.loads(run("keys", "list", "--json").output)
    assert (row["id"], row["note"], row["revoked_at"]) == (principal.key_id, "for the test", None)
    assert "for the test" in run("keys", "list", "--tenant", "acme").output
    assert run("keys", "list", "--tenant", "globex").output == "No keys.\n"
    assert run("keys", "revoke", row["id"]).exit_code == 0
    assert json.loads(run("keys", "list", "--json").output)[0]["revoked_at"]
    assert run("keys", "revoke", "nobody").exit_code == 1
    assert run("keys", "create", "initech").exit_code == 1
    assert run("keys", "create", "initech", "--new-tenant").exit_code == 0


def test_keys_without_a_database_say_where_they_make_one(in_empty_directory, run):
    result = run("keys", "list")
    assert result.exit_code == 0
    assert f"{Path('.hermes/hermes.db')} is a new database" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [(), ("up",), ("send",), ("messages",), ("messages", "show"), ("keys",), ("doctor",)],
)
def test_every_command_explains_itself(run, arguments):
    result = run(*arguments, "--help")
    assert result.exit_code == 0
    assert "Usage: hermes" in result.output
