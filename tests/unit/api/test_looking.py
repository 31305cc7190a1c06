"""GET and DELETE of one message: its story, and its withdrawal."""

import base64
import json
from datetime import timedelta

import msgspec
import pytest

from domain.failures import Failure, FailureCode
from domain.message import Level, Quiet
from domain.timeline import Entry, Event, Record, Status
from handlers.api.answers import EntryView
from tests.unit.api.conftest import MESSAGE

TIMEOUT = Failure(FailureCode.TIMEOUT)
UNREACHABLE = Failure(FailureCode.RECIPIENT_UNREACHABLE, "err:027", "Absent subscriber")


async def sent(world, **changes):
    body = {**MESSAGE, "metadata": {"order": "7"}, **changes}
    return (await world.post(body)).json()["id"]


async def end(world, message_id, status=Status.DELIVERED, failure=None):
    at = world.clock.now + timedelta(seconds=3)
    record = Record(
        status,
        [
            Entry(world.clock.now, Event.ACCEPTED),
            Entry(world.clock.now + timedelta(seconds=1), Event.STEP, 1, "sms", 1),
            Entry(world.clock.now + timedelta(seconds=2), Event.FAILED, 1, failure=UNREACHABLE),
            Entry(at, Event.ENDED, status=status),
        ],
        channel="sms",
        level=Level.DELIVERED if status is Status.DELIVERED else None,
        failure=failure,
        ended_at=at,
    )
    await world.log.ended(message_id, world.engine.held[message_id], record)
    return record


def story(view):
    """The timeline but for the layers' verdicts."""
    return [entry for entry in view["timeline"] if entry["event"] != "verdict"]


async def test_the_timeline_shows_every_layers_verdict_behind_the_acceptance(world):
    text = "Sale! Reply STOP to end"
    message_id = await sent(world, category="marketing", content={"text": text}, ttl=86400)
    await end(world, message_id)
    timeline = (await world.get(f"/v1/messages/{message_id}")).json()["timeline"]
    assert timeline[0]["event"] == "accepted"
    verdicts = [entry["verdict"] for entry in timeline if entry["event"] == "verdict"]
    assert [entry.get("verdict") for entry in timeline[1 : len(verdicts) + 1]] == verdicts
    assert {entry["at"] for entry in timeline[: len(verdicts) + 1]} == {"2026-05-01T12:00:00Z"}
    layers = ["auth", "tenant", "schema", "content", "compliance", "enrich"]
    assert [verdict["layer"] for verdict in verdicts] == layers
    assert verdicts[3] == {"layer": "content", "outcome": "pass"}


async def test_a_message_under_way_shows_what_restate_knows(world):
    message_id = await sent(world)
    order, _ = world.engine.live[message_id]
    entry = Entry(world.clock.now, Event.STEP, 1, "sms")
    world.engine.live[message_id] = (order, Record(Status.PROCESSING, [entry], channel="sms"))
    view = (await world.get(f"/v1/messages/{message_id}")).json()
    assert (view["status"], view["channel"], view["ended_at"]) == ("processing", "sms", None)
    assert story(view) == [
        {"at": "2026-05-01T12:00:00Z", "event": "step", "step": 1, "channel": "sms"}
    ]
    assert view["plan"] == [{"channel": "sms", "timeout": 60.0, "success": "delivered"}]
    assert (view["to"], view["metadata"]) == ({"sms": "+4520123456"}, {"order": "7"})


async def test_the_content_is_never_shown(world):
    message_id = await sent(world, content={"text": "Your code is 8731", "subject": "Code 8731"})
    await end(world, message_id)
    for path in (f"/v1/messages/{message_id}", "/v1/messages"):
        assert "8731" not in (await world.get(path)).text


async def test_an_ended_message_comes_from_the_log_also_while_restate_is_down(world):
    message_id = await sent(world)
    await end(world, message_id, Status.FAILED, TIMEOUT)
    world.engine.down = True
    view = (await world.get(f"/v1/messages/{message_id}")).json()
    assert (view["status"], view["ended_at"]) == ("failed", "2026-05-01T12:00:03Z")
    assert view["failure"] == {
        "code": "timeout",
        "permanent": False,
        "fault": "provider",
        "meaning": "No proof of success arrived within the step's timeout.",
        "provider_code": None,
        "detail": None,
    }


async def test_a_failure_in_the_timeline_says_whose_fault_it_was(world):
    message_id = await sent(world)
    await end(world, message_id)
    view = (await world.get(f"/v1/messages/{message_id}")).json()
    failure = story(view)[2]["failure"]
    assert (failure["code"], failure["permanent"]) == ("recipient_unreachable", False)
    assert (failure["fault"], failure["provider_code"]) == ("recipient", "err:027")
    assert failure["detail"] == "Absent subscriber"


async def test_late_receipts_stand_in_the_timeline_in_time_order(world):
    message_id = await sent(world)
    await end(world, message_id)
    late = Entry(world.clock.now + timedelta(seconds=9), Event.RECEIPT, 1, late=True)
    early = Entry(world.clock.now + timedelta(seconds=2.5), Event.RECEIPT, 1, late=True)
    await world.log.late_receipt(message_id, late)
    await world.log.late_receipt(message_id, early)
    view = (await world.get(f"/v1/messages/{message_id}")).json()
    assert [entry["event"] for entry in story(view)] == [
        "accepted",
        "step",
        "failed",
        "receipt",
        "ended",
        "receipt",
    ]


async def test_a_message_whose_handler_has_not_begun_shows_its_row(world):
    world.engine.begins = False
    message_id = await sent(world)
    view = (await world.get(f"/v1/messages/{message_id}")).json()
    accepted = {"at": "2026-05-01T12:00:00Z", "event": "accepted"}
    assert (view["status"], story(view)) == ("processing", [accepted])


async def test_no_line_changes_its_place_when_the_handler_begins(world):
    world.engine.begins = False
    message_id = await sent(world)
    before = (await world.get(f"/v1/messages/{message_id}")).json()["timeline"]
    order = world.engine.held[message_id]
    begun = [Entry(order.accepted_at, Event.ACCEPTED), Entry(world.clock.now, Event.STEP, 1, "sms")]
    world.engine.live[message_id] = (order, Record(Status.PROCESSING, begun, channel="sms"))
    after = (await world.get(f"/v1/messages/{message_id}")).json()["timeline"]
    assert (after[: len(before)], len(after)) == (before, len(before) + 1)


async def test_what_waits_says_until_when(world):
    message_id = await sent(world, send_at="2026-05-01T15:00:00+02:00", ttl=7200)
    order, _ = world.engine.live[message_id]
    quiet = Quiet(world.clock.now - timedelta(hours=1), world.clock.now + timedelta(hours=1))
    outlasting = Quiet(quiet.end, quiet.end + timedelta(days=1))
    order = msgspec.structs.replace(order, quiet=(quiet, outlasting))
    waits = [
        Entry(world.clock.now, Event.SCHEDULED),
        Entry(world.clock.now, Event.QUIET_HOURS, channel="sms"),
        Entry(quiet.end, Event.QUIET_HOURS, channel="sms"),
    ]
    world.engine.live[message_id] = (order, Record(Status.SCHEDULED, waits))
    view = (await world.get(f"/v1/messages/{message_id}")).json()
    until = ["2026-05-01T13:00:00Z", "2026-05-01T13:00:00Z", view["expires_at"]]
    assert [entry["until"] for entry in story(view)] == until


async def test_a_message_that_is_not_listed_yet_shows_what_restate_knows(world):
    message_id = await sent(world)
    world.log.rows.clear()
    assert (await world.get(f"/v1/messages/{message_id}")).status_code == 200


async def test_restate_down_hides_what_is_under_way(world):
    message_id = await sent(world)
    world.engine.down = True
    answer = await world.get(f"/v1/messages/{message_id}")
    assert (answer.status_code, answer.json()["code"]) == (503, "engine_unavailable")


async def test_a_message_under_way_can_be_withdrawn(world):
    message_id = await sent(world)
    answer = await world.delete(f"/v1/messages/{message_id}")
    assert answer.status_code == 202
    assert answer.json() == {"id": message_id, "status": "processing"}
    assert world.engine.canceled == [message_id]


async def test_an_ended_message_cannot_be_withdrawn(world):
    message_id = await sent(world)
    await end(world, message_id)
    answer = await world.delete(f"/v1/messages/{message_id}")
    assert (answer.status_code, answer.json()["code"]) == (409, "already_ended")
    assert world.engine.canceled == []


async def test_a_message_that_ends_while_it_is_withdrawn(world):
    message_id = await sent(world)
    order, record = world.engine.live[message_id]

    async def ends_first(_):
        del world.engine.live[message_id]
        ended = msgspec.structs.replace(record, status=Status.FAILED, ended_at=order.accepted_at)
        await world.log.ended(message_id, order, ended)
        return False

    world.engine.cancel = ends_first
    answer = await world.delete(f"/v1/messages/{message_id}")
    assert (answer.status_code, answer.json()["code"]) == (409, "already_ended")


async def test_a_message_whose_handler_has_not_begun_cannot_be_withdrawn_yet(world):
    world.engine.begins = False
    message_id = await sent(world)
    answer = await world.delete(f"/v1/messages/{message_id}")
    assert (answer.status_code, answer.json()["code"]) == (409, "request_in_progress")
    assert answer.headers["retry-after"]


async def test_restate_down_cannot_withdraw(world):
    message_id = await sent(world)
    world.engine.down = True
    answer = await world.delete(f"/v1/messages/{message_id}")
    assert (answer.status_code, answer.json()["code"]) == (503, "engine_unavailable")


def test_the_timeline_shows_all_that_the_core_knows_but_what_is_its_own():
    core = {field.name: field.default for field in msgspec.structs.fields(Entry)}
    view = {field.name: field.default for field in msgspec.structs.fields(EntryView)}
    only_for_the_core = {"receipt_id"}  # tells a repeated receipt from a new one
    assert view.pop("verdict") is None  # of the order
    assert view.pop("callback") is None  # of the endpoints
    assert view.pop("until") is None  # of the order
    assert view == {name: core[name] for name in core if name not in only_for_the_core}


class TestListing:
    @pytest.fixture
    async def five(self, world):
        """Five messages a minute apart, oldest first."""
        ids = []
        for n in range(5):
            ids.append(await sent(world, metadata={"n": str(n), "shop": "a"}))
            world.clock.now += timedelta(minutes=1)
        return ids

    async def ids(self, world, query=""):
        answer = await world.get(f"/v1/messages{query}")
        assert answer.status_code == 200, answer.text
        return [row["id"] for row in answer.json()["data"]]

    async def test_the_newest_come_first(self, world, five):
        assert await self.ids(world) == five[::-1]

    async def test_pages_join_without_gap_or_overlap(self, world, five):
        seen, path = [], "/v1/messages?limit=2"
        while path:
            page = (await world.get(path)).json()
            seen += [row["id"] for row in page["data"]]
            cursor = page["next_cursor"]
            path = cursor and f"/v1/messages?limit=2&cursor={cursor}"
        assert seen == five[::-1]

    async def test_a_last_page_that_is_full_has_no_next(self, world, five):
        assert (await world.get("/v1/messages?limit=5")).json()["next_cursor"] is None

    async def test_filters_combine(self, world, five):
        await end(world, five[1])
        await end(world, five[2], Status.FAILED, TIMEOUT)
        assert await self.ids(world, "?status=delivered&status=failed") == [five[2], five[1]]
        assert await self.ids(world, "?status=failed&channel=sms") == [five[2]]
        assert await self.ids(world, "?channel=email") == []
        assert await self.ids(world, "?metadata.n=3&metadata.shop=a") == [five[3]]
        assert await self.ids(world, "?metadata.n=3&metadata.shop=b") == []
        assert await self.ids(
            world, "?created_after=2026-05-01T12:01:00Z&created_before=2026-05-01T14:03:00%2B02:00"
        ) == [five[2], five[1]]

    async def test_the_first_and_the_last_moment_that_can_be_written(self, world, five):
        first, last = "0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"
        assert await self.ids(world, f"?created_after={first}&created_before={last}") == five[::-1]
        assert await self.ids(world, f"?created_after={last}") == []
        assert await self.ids(world, f"?created_before={first}") == []
        for moment, page in (("0001-01-01T00:00:00+14:00", []), (last, five[::-1])):
            position = json.dumps([moment, five[0]]).encode()
            cursor = base64.urlsafe_b64encode(position).decode().rstrip("=")
            assert await self.ids(world, f"?cursor={cursor}") == page

    async def test_a_summary_tells_the_outcome(self, world, five):
        await end(world, five[0], Status.FAILED, TIMEOUT)
        row = (await world.get("/v1/messages?status=failed")).json()["data"][0]
        assert (row["status"], row["channel"], row["failure"]["code"]) == (
            "failed",
            "sms",
            "timeout",
        )

    FAULTS = {
        "unknown_status": ("status=gone", "unknown_value", "status"),
        "unknown_channel": ("channel=fax", "unknown_channel", "channel"),
        "limit_zero": ("limit=0", "out_of_range", "limit"),
        "limit_501": ("limit=501", "out_of_range", "limit"),
        "limit_text": ("limit=many", "wrong_type", "limit"),
        "limit_twice": ("limit=1&limit=2", "repeated_parameter", "limit"),
        "misspelt": ("stauts=failed", "unknown_parameter", "stauts"),
        "metadata_without_key": ("metadata.=x", "unknown_parameter", "metadata."),
        "date_only": ("created_after=2026-05-01", "invalid_datetime", "created_after"),
        "bare_plus": (
            "created_after=2026-05-01T00:00:00+02:00",
            "invalid_datetime",
            "created_after",
        ),
        "nul": ("metadata.a=%00", "nul_character", "metadata.a"),
        "too_many_labels": (
            "&".join(f"metadata.{n}=x" for n in range(21)),
            "metadata_too_large",
            "metadata",
        ),
    }

    @pytest.mark.parametrize(("query", "code", "parameter"), FAULTS.values(), ids=FAULTS)
    async def test_a_filter_that_is_wrong_is_refused(self, world, query, code, parameter):
        answer = await world.get(f"/v1/messages?{query}")
        assert answer.status_code == 422
        errors = [(e["code"], e["parameter"]) for e in answer.json()["errors"]]
        assert errors == [(code, parameter)]

    @pytest.mark.parametrize(
        "cursor", ["x", "!!!", "W10", "WzEsMl0", "e30", "%00", "é", "A" * 5000, ""]
    )
    async def test_a_cursor_that_is_none_is_refused(self, world, cursor):
        answer = await world.get(f"/v1/messages?cursor={cursor}")
        assert (answer.status_code, answer.json()["code"]) in (
            (400, "invalid_cursor"),
            (422, "validation_failed"),
        )
