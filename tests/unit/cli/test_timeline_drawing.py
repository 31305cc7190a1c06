import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from domain.timeline import Event
from infra.cli.console import THEME, seconds
from infra.cli.console import console as cli_console
from infra.cli.timeline import Timeline, lines, waiting_for

BEGAN = datetime(2025, 3, 4, 14, 2, 7, 120_000, tzinfo=UTC)
PLAN = [
    {"channel": "sms", "timeout": 3.0, "success": "delivered"},
    {"channel": "email", "timeout": 30.0, "success": "sent"},
]


def at(offset):
    return (BEGAN + timedelta(seconds=offset)).isoformat()


def entry(offset, event, **facts):
    return {"at": at(offset), "event": event, **facts}


def message(status, *timeline, ended=None, **facts):
    return {
        "id": "msg_01JX3W5Z8K2V4T7Y9Q0R1S2M3N",
        "status": status,
        "created_at": at(0),
        "ended_at": None if ended is None else at(ended),
        "to": {"sms": "+4520109902", "email": "demo@example.com"},
        "plan": PLAN,
        "timeline": list(timeline),
    } | facts


BEGUN = (
    entry(0, "accepted"),
    entry(0.004, "step", step=1, channel="sms"),
    entry(
        0.021, "submitted", step=1, channel="sms", attempt=1, provider="simulator",
        level="accepted", provider_ids=["7B21"], segments=1,
    ),
)  # fmt: skip

FALLBACK = message(
    "sent",
    *BEGUN,
    entry(3.006, "timeout", step=1, channel="sms"),
    entry(3.006, "step", step=2, channel="email"),
    entry(3.09, "submitted", step=2, channel="email", attempt=2, provider="relay", level="sent"),
    entry(3.094, "ended", status="sent"),
    entry(65.4, "receipt", channel="sms", attempt=1, level="delivered",
          provider_status="DELIVRD", late=True),
    ended=3.094,
    channel="email",
)  # fmt: skip

TROUBLED = message(
    "failed",
    *BEGUN[:2],
    entry(0.01, "deferred", step=1, channel="sms", attempt=1, provider="simulator",
          retry_after=0.25, failure={"code": "provider_throttled", "provider_code": "0x58"}),
    entry(0.3, "outcome_unknown", step=1, channel="sms", attempt=1, provider="simulator",
          failure={"code": "outcome_unknown"}),
    entry(2.3, "submitted", step=1, channel="sms", attempt=2, provider="simulator",
          level="accepted", provider_ids=["7B21", "7B22", "7B23"], segments=3,
          possible_duplicate=True),
    entry(2.9, "receipt", channel="sms", attempt=2, provider_status="UNDELIV",
          failure={"code": "recipient_unreachable", "provider_code": "027",
                   "meaning": "The recipient could not be reached by this channel."}),
    entry(2.91, "step", step=2, channel="email"),
    entry(12.4, "failed", step=2, channel="email", attempt=3, provider="relay",
          failure={"code": "recipient_invalid", "provider_code": "550 5.1.1",
                   "detail": "The mailbox does not exist at this server."}),
    entry(12.5, "ended", status="failed"),
    ended=12.5,
    failure={"code": "recipient_invalid"},
)  # fmt: skip


def drawn(shown, width):
    file = io.StringIO()
    out = cli_console(file)
    out.width = width
    out.print(shown)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def test_a_fallback_in_80_columns():
    assert drawn(Timeline(FALLBACK), 80).splitlines() == [
        "  msg_01JX3W5Z8K2V4T7Y9Q0R1S2M3N  SENT\u00a0\u00a0after\u00a03.09\u00a0s",
        "  sms +4520109902 → email demo@example.com",
        "",
        "    0.000 s  ●          accepted",
        "    0.004 s  ┌ sms      step 1 of 2, up to 3 s",
        "    0.021 s  │          simulator took it               id 7B21",
        "    3.006 s  │          ✗ no proof of success in time   timeout",
        "    3.006 s  ┌ email    step 2 of 2, up to 30 s",
        "    3.090 s  │          ✓ relay took it: sent",
        "    3.094 s  ●          SENT by email",
        "  1 min 5 s  ┊ sms      ✓ receipt: delivered  [late]    DELIVRD",
    ]


def test_only_the_choice_that_was_taken_is_told_before_its_attempt():
    def choice(*candidates, **more):
        told = [dict(zip(("route", "why", "price", "rate"), c, strict=False)) for c in candidates]
        return {"route": told[0]["route"], "why": told[0]["why"], "candidates": told, **more}

    routed = message(
        "processing",
        *BEGUN[:1],
        entry(
            0.004, "step", step=1, channel="sms", route=choice(("a", "cheapest"), ("b", "dearer"))
        ),
        entry(
            0.021,
            "submitted",
            step=1,
            channel="sms",
            attempt=1,
            provider="telia",
            route=choice(("dk", "room", "0.01", 0.975), ("tdc", "no_room"), others=3),
        ),
    )
    assert drawn(Timeline(routed), 96).splitlines()[4:] == [
        "    0.004 s  ┌ sms      step 1 of 2, up to 3 s",
        "    0.021 s  │          route dk (0.01, 98% delivered): those before it have no room"
        " · tdc: no",
        "             │          room · and 3 more",
        "    0.021 s  │          telia took it",
    ]


def test_an_attempt_without_a_choice_of_its_own_has_its_steps():
    expected = {"route": "email", "why": "tenant_order"}
    expected["candidates"] = [dict(expected), {"route": "sendgrid", "why": "later"}]
    step = entry(3.006, "step", step=2, channel="email", route=expected)
    routed = message("processing", *FALLBACK["timeline"][:4], step, *FALLBACK["timeline"][5:6])
    told = [line for line in drawn(Timeline(routed), 96).splitlines() if "route email" in line]
    assert [line[:11] for line in told] == ["    3.090 s"]


def test_trouble_in_80_columns():
    assert drawn(Timeline(TROUBLED), 80).splitlines()[3:] == [
        "    0.000 s  ●          accepted",
        "    0.004 s  ┌ sms      step 1 of 2, up to 3 s",
        "    0.010 s  │          simulator is busy, next try in 250 ms",
        "             │          provider_throttled · 0x58",
        "    0.300 s  │          ? no answer: it may have been sent, or not",
        "             │          outcome_unknown",
        "    2.300 s  │          simulator took it in 3 segments  [possible duplicate]",
        "             │          id 7B21 +2",
        "    2.900 s  │          ✗ receipt: the recipient could not be reached by this",
        "             │          channel",
        "             │          recipient_unreachable · 027",
        "    2.910 s  ┌ email    step 2 of 2, up to 30 s",
        "   12.400 s  │          ✗ The mailbox does not exist at this server",
        "             │          recipient_invalid · 550 5.1.1",
        "   12.500 s  ●          FAILED                          recipient_invalid",
    ]


def test_trouble_in_46_columns():
    assert drawn(Timeline(TROUBLED), 46).splitlines()[4:] == [
        "   0.000 s  ● accepted",
        "   0.004 s  ┌ sms  step 1 of 2, up to 3 s",
        "   0.010 s  │ simulator is busy, next try in",
        "            │ 250 ms",
        "            │ provider_throttled · 0x58",
        "   0.300 s  │ ? no answer: it may have been",
        "            │ sent, or not",
        "            │ outcome_unknown",
        "   2.300 s  │ simulator took it in 3 segments",
        "            │ [possible duplicate]",
        "            │ id 7B21 +2",
        "   2.900 s  │ ✗ receipt: the recipient could",
        "            │ not be reached by this channel",
        "            │ recipient_unreachable · 027",
        "   2.910 s  ┌ email  step 2 of 2, up to 30 s",
        "  12.400 s  │ ✗ The mailbox does not exist at",
        "            │ this server",
        "            │ recipient_invalid · 550 5.1.1",
        "  12.500 s  ● FAILED",
        "              recipient_invalid",
    ]


@pytest.mark.parametrize("width", range(20, 140, 7))
def test_no_line_is_wider_than_the_terminal(width):
    for picture in (FALLBACK, TROUBLED):
        drawing = drawn(Timeline(picture), width).splitlines()
        assert all(len(line) <= width for line in drawing)


def test_no_colours_where_nobody_looks():
    assert "\x1b" not in drawn(Timeline(TROUBLED), 80)


def test_colours_by_outcome_on_a_terminal():
    file = io.StringIO()
    out = Console(file=file, theme=THEME, force_terminal=True, color_system="standard", width=80,
                  _environ={})  # fmt: skip
    out.print(Timeline(FALLBACK))
    drawing = file.getvalue()
    assert "\x1b[31m✗ no proof" in drawing
    assert "\x1b[32m✓ relay took it" in drawing
    assert "\x1b[1;32mSENT" in drawing


@pytest.mark.parametrize("event", list(Event))
def test_every_event_of_the_domain_has_words_of_its_own(event):
    facts = {"step": 1, "channel": "sms", "failure": {"code": "too_late"}, "status": "failed"}
    (line,) = lines(message("failed", entry(1, event.value, **facts)))
    assert "_" not in line.text
    assert line.text


def test_an_event_of_a_newer_version_is_shown_by_name():
    newer = message("processing", *BEGUN, entry(1, "price_agreed", failure={"code": "odd"}))
    last = list(lines(newer))[-1]
    assert (last.text, last.note) == ("price agreed", "odd")


def test_a_view_without_a_plan_is_drawn_too():
    bare = {**FALLBACK, "plan": None, "to": None}
    assert "step 1" in drawn(Timeline(bare), 80)


@pytest.mark.parametrize(
    ("shown", "now", "sentence"),
    [
        (message("processing", *BEGUN), 1.0, "waiting for the receipt: email next in 2.0 s"),
        (message("processing", *BEGUN), 3.5, "waiting for the receipt: email next in a moment"),
        (
            message("processing", *BEGUN, plan=PLAN[:1]),
            1.0,
            "waiting for the receipt: gives up in 2.0 s",
        ),
        (
            message("scheduled", *BEGUN[:1], send_at=at(90)),
            1.0,
            "scheduled: begins in 1 min 29 s",
        ),
        (message("processing", *BEGUN[:1]), 0.001, "about to begin"),
        (message("processing"), 0.001, "waiting"),
    ],
)
def test_what_is_waited_for(shown, now, sentence):
    assert waiting_for(shown, BEGAN + timedelta(seconds=now)) == sentence


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0 ms"), (0.25, "250 ms"), (0.9999, "1 s"), (3.1, "3.1 s"), (60, "1 min"),
        (65, "1 min 5 s"), (7500, "2 h 5 min"), (90_000, "1 d 1 h"),
    ],
)  # fmt: skip
def test_durations_in_words(value, words):
    assert seconds(value) == words
