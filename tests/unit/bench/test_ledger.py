"""Conservation: stories as the log tells them against what the SMSC took."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from adapters.store.message_log import SqliteMessageLog
from adapters.store.recipients import Places
from domain.message import Content, Level, MessageOrder, Step
from domain.ports import LoggedMessage
from domain.timeline import Entry, Event, Record, Status
from infra.bench import ledger
from infra.bench.ledger import Books, Seen
from infra.bench.load import Sent

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def submitted(attempt=1, flagged=False):
    return Entry(NOON, Event.SUBMITTED, attempt=attempt, possible_duplicate=flagged)


def unknown(attempt=1, flagged=False):
    return Entry(NOON, Event.OUTCOME_UNKNOWN, attempt=attempt, possible_duplicate=flagged)


def receipt(attempt=1, level=Level.DELIVERED, about=None):
    id_ = None if about is None else f"{about}/DELIVERED"
    return Entry(NOON, Event.RECEIPT, attempt=attempt, level=level, receipt_id=id_)


def an_order():
    return MessageOrder(
        tenant="acme",
        to={"sms": "+4520123456"},
        content=Content("Your code is 4711"),
        plan=(Step("sms", 30.0, Level.DELIVERED),),
        accepted_at=NOON,
        expires_at=NOON + timedelta(hours=1),
    )


def ended(*timeline, status=Status.DELIVERED, late=()):
    record = Record(status, list(timeline), ended_at=NOON)
    return LoggedMessage("id", "acme", status, "sms", NOON, NOON, an_order(), record, late)


FAILED = Entry(NOON, Event.FAILED, attempt=1)


@pytest.mark.parametrize(
    ("story", "copies", "disagree"),
    [
        pytest.param([submitted(), receipt()], 1, False, id="sent once"),
        pytest.param([submitted(), receipt()], 0, True, id="submitted, and no SMSC took it"),
        pytest.param([submitted(), receipt()], 2, True, id="one attempt, taken twice"),
        pytest.param([FAILED], 0, False, id="never taken"),
        pytest.param([FAILED], 1, True, id="refused, yet taken"),
        pytest.param([unknown()], 0, False, id="unknown, and not taken"),
        pytest.param([unknown()], 1, False, id="unknown, and taken"),
        pytest.param([unknown(), submitted(2, True)], 2, False, id="resent"),
        pytest.param([unknown(), submitted(2, True)], 1, False, id="resent, the first was lost"),
        pytest.param([unknown(), submitted(2, True)], 3, True, id="resent, and once more"),
        pytest.param([receipt()], 1, False, id="the receipt is all that is known"),
        pytest.param([receipt()], 0, True, id="a receipt for what no SMSC took"),
        pytest.param([unknown(), receipt()], 0, True, id="unknown, then a receipt for nothing"),
        pytest.param([submitted(), submitted(2, True)], 1, True, id="taken twice, says the log"),
        pytest.param([submitted(), submitted(2, True)], 2, False, id="taken twice, say both"),
    ],
)
def test_log_and_smsc_agree_or_not(story, copies, disagree):
    books = Books(1, {"text": ended(*story)}, set())
    seen = Seen({"text": copies} if copies else {})
    assert books.disagreements(seen) == disagree


THEIRS = Seen({"text": 1, "other": 1}, {"text": {"first/A1"}, "other": {"first/B2"}})


@pytest.mark.parametrize(
    ("about", "wrong"),
    [
        pytest.param("first/A1", set(), id="its own"),
        pytest.param("first/B2", {"text"}, id="another message's"),
        pytest.param("first/C3", {"text"}, id="nobody's"),
        pytest.param("second/B2", set(), id="of a carrier that tells no ids"),
        pytest.param(None, set(), id="without an id"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_a_receipt_belongs_to_the_message_it_is_given_to(about, wrong, late):
    its = receipt(about=about)
    message = ended(submitted(), late=(its,)) if late else ended(submitted(), its)
    books = Books(2, {"text": message, "other": ended(submitted())}, set())
    assert books.disagreeing(THEIRS) == wrong


def test_what_nobody_knows_of_can_be_left_out_of_the_other_side():
    left = THEIRS.without({"text"})
    assert (left.taken, left.ids) == ({"other": 1}, {"other": {"first/B2"}})


def test_books_of_two_loads_are_one():
    both = Books(2, {"a": ended(submitted())}, {"b"}) + Books(1, {"c": ended(submitted())}, set())
    assert (both.accepted, both.ended.keys(), both.in_flight) == (3, {"a", "c"}, {"b"})


@pytest.mark.parametrize(("in_flight", "wrong"), [({"text"}, 0), (set(), 1)])
def test_what_no_message_answers_for_is_a_disagreement(in_flight, wrong):
    assert Books(1, {}, in_flight).disagreements(Seen({"text": 1})) == wrong


@pytest.mark.parametrize(
    ("story", "copies", "unflagged"),
    [
        ([unknown(), submitted(2, flagged=True)], 2, 0),
        ([unknown(), unknown(2, flagged=True)], 2, 0),
        ([unknown(), submitted(2)], 2, 1),
        ([unknown(), submitted(2)], 1, 0),
    ],
)
def test_a_duplicate_must_be_flagged(story, copies, unflagged):
    books = Books(1, {"text": ended(*story)}, set())
    assert books.unflagged(Seen({"text": copies})) == unflagged


def on(channel, *entries):
    return [msgspec.structs.replace(entry, channel=channel) for entry in entries]


FELL_OVER = [*on("sms", submitted()), *on("email", submitted(2))]
RESENT = [*on("sms", unknown(), submitted(2, flagged=True)), *on("email", submitted(3))]


@pytest.mark.parametrize(
    ("story", "channel", "copies", "disagree", "unflagged"),
    [
        pytest.param(FELL_OVER, "sms", 1, False, False, id="once on each channel"),
        pytest.param(FELL_OVER, "sms", 2, True, True, id="twice on one of two channels"),
        pytest.param(FELL_OVER, "email", 0, True, False, id="on one of two channels only"),
        pytest.param(FELL_OVER, "push", 1, True, False, id="on a channel that was never tried"),
        pytest.param(RESENT, "sms", 2, False, False, id="sent again, and said so"),
        pytest.param(RESENT, "email", 2, True, True, id="another channel's flag does not count"),
    ],
)
def test_each_channel_has_a_side_of_its_own(story, channel, copies, disagree, unflagged):
    books = Books(1, {"text": ended(*story)}, set())
    seen = Seen({"text": copies} if copies else {})
    assert bool(books.disagreeing(seen, channel)) == disagree
    assert bool(books.without_flag(seen, channel)) == unflagged


def test_duplicates_are_the_submissions_beyond_the_first():
    assert Seen({"a": 1, "b": 3, "c": 2}).duplicates == 3


def test_lost_is_what_neither_ended_nor_is_in_flight():
    books = Books(4, {"a": ended(receipt())}, {"b"})
    assert books.lost == 2
    assert [check.ok for check in books.checks(Seen({"a": 1}))] == [False, False, True, True]


def test_only_a_receipt_of_delivery_correlates():
    stories = {
        "delivered twice": ended(submitted(), receipt(), receipt()),
        "handset off": ended(submitted(), receipt(level=None), status=Status.FAILED),
        "on its way": ended(submitted(), receipt(level=Level.SENT), status=Status.FAILED),
        "silence": ended(submitted(), status=Status.FAILED),
    }
    books = Books(len(stories), stories, set())
    assert books.correlated == 1
    assert books.count(Event.RECEIPT) == 4


@pytest.fixture
async def log(tmp_path):
    path = tmp_path / "hermes.db"
    log = SqliteMessageLog(path, Places(bytes(32)))
    record = Record(Status.DELIVERED, [submitted(), receipt()], ended_at=NOON)
    for message in ("ended", "another's"):
        await log.ended(message, an_order(), record)
    await log.accepted("under way", an_order())
    await log.close()
    return path


async def test_the_books_are_opened_on_what_was_sent_and_on_nothing_else(log, monkeypatch):
    monkeypatch.setattr(ledger, "_invocations", lambda url: ["under way", "another's"])
    texts = {"ended": "text 1", "under way": "text 2", "gone": "text 3"}
    sent = Sent(dict.fromkeys(texts, 0.0), texts)
    books = await ledger.books(log, "http://nowhere", {"acme": sent})
    assert books.accepted == 3
    assert list(books.ended) == ["text 1"]
    assert books.in_flight == {"text 2"}
    assert books.lost == 1


async def test_draining_ends_when_its_patience_does(log):
    await ledger.drain(log, ["globex"], 60.0)
    await ledger.drain(log, ["acme"], 0.0)
