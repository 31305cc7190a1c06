"""What the layers do to a message, one table for each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain.compliance.senders import Sender, Senders, SenderStatus
from domain.enrichment import Recipient
from domain.mode import Mode
from domain.numbering.kind import NumberKind
from domain.verdict import Outcome, Verdict
from handlers.api.problems import Problem
from handlers.api.services import OwnServices
from handlers.pipeline.layers import in_order
from handlers.pipeline.pipeline import Pipeline

EVENING = datetime(2026, 1, 15, 21, 30, tzinfo=UTC)  # 22:30 in Copenhagen
MORNING = datetime(2026, 1, 16, 7, 0, tzinfo=UTC)  # 8:00
US = "+12125550123"
INDIA = "+919876543210"


class SomeSenders:
    value = Senders([Sender("acme", "AcmeIN", SenderStatus.APPROVED, ("IN",))])


class SomeOperators:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def operator_of(self, number: str) -> str | None:
        self.asked.append(number)
        return "23801" if number == "+4520123456" else None


def pipeline(**layers) -> Pipeline:
    return in_order(providers=OwnServices(), senders=SomeSenders(), **layers)


async def refused(draft) -> tuple[str, list[tuple[str, str | None]]]:
    with pytest.raises(Problem) as refusal:
        await pipeline().admit(draft)
    details = refusal.value.details
    return details.code, [(error.code, error.pointer) for error in details.errors]


def sms(sender: str, **step) -> list[dict[str, object]]:
    return [{"channel": "sms", "sender": sender, **step}]


async def test_every_layer_leaves_its_verdict_in_order(draft):
    order = await pipeline().admit(draft())
    assert [verdict.layer for verdict in order.verdicts] == [
        "auth",
        "tenant",
        "schema",
        "content",
        "compliance",
        "enrich",
    ]
    assert {verdict.outcome for verdict in order.verdicts} == {Outcome.PASS}


async def test_the_faults_of_the_schema_come_first(draft):
    fields = {"content": {"text": "Hi {{name}}"}, "to": {"sms": "12"}}
    assert await refused(draft(**fields)) == ("validation_failed", [("not_a_number", "/to/sms")])


async def test_content_rules_refuse_all_at_once(draft):
    text = "Hi {{name}}, see bit.ly/x"
    assert await refused(draft(content={"text": text})) == (
        "content_refused",
        [("unfilled_placeholder", "/content/text"), ("link_shortened", "/content/text")],
    )


async def test_what_is_flagged_is_named_but_not_quoted(draft):
    settings = {"content": {"placeholders": "flag"}}
    order = await pipeline().admit(draft(settings, content={"text": "Code {secret}"}))
    assert order.verdicts[3] == Verdict(
        "content", Outcome.PASS, "unfilled_placeholder", "unfilled_placeholder in text"
    )


async def test_characters_that_became_plain_are_a_change(draft):
    settings = {"content": {"encoding": "economical"}}
    order = await pipeline().admit(draft(settings, content={"text": "It\u2019s ready"}))
    assert order.content.text == "It's ready"
    assert (order.verdicts[3].outcome, order.verdicts[3].code) == (
        Outcome.CHANGE,
        "plain_characters",
    )


@pytest.mark.parametrize(
    ("to", "plan", "settings", "errors"),
    [
        (US, sms("Acme"), {}, ["sender_not_numeric"]),
        (US, sms("12345"), {}, []),
        (INDIA, sms("Acme"), {}, ["sender_not_registered"]),
        (INDIA, sms("AcmeIN"), {}, []),
        ("+4520123456", sms("Acme"), {}, []),
        (
            "+4520123456",
            sms("Acme"),
            {"compliance": {"senders": "refuse"}},
            ["sender_not_approved"],
        ),
        ("+4520123456", None, {"compliance": {"senders": "refuse"}}, []),
        (US, sms("12345"), {"defaults": {"senders": {"sms": "Acme"}}}, []),
    ],
)
async def test_senders_by_country(draft, to, plan, settings, errors):
    message = draft(settings, to={"sms": to}, **({"plan": plan} if plan else {}))
    if errors:
        pointers = [(code, "/plan/0/sender") for code in errors]
        assert await refused(message) == ("compliance_refused", pointers)
    else:
        await pipeline().admit(message)


@pytest.mark.parametrize(
    ("plan", "pointer"),
    [(None, "/to/sms"), ([{"channel": "sms"}], "/plan/0")],
    ids=["without a plan", "with a step that names none"],
)
async def test_a_default_sender_is_told_with_its_setting(draft, plan, pointer):
    settings = {"defaults": {"senders": {"sms": "Acme"}}}
    message = draft(settings, to={"sms": US}, **({"plan": plan} if plan else {}))
    with pytest.raises(Problem) as told:
        await pipeline().admit(message)
    (error,) = told.value.details.errors
    assert (error.code, error.pointer) == ("sender_not_numeric", pointer)
    assert "`Acme`" in error.detail
    assert "`defaults.senders.sms`" in error.detail


async def test_a_tenants_sender_goes_where_a_step_names_none(draft):
    plan = [{"channel": "sms"}, {"channel": "sms", "sender": "Own"}]
    settings = {"defaults": {"senders": {"sms": "Acme"}}}
    order = await pipeline().admit(draft(settings, plan=plan))
    assert [step.sender for step in order.plan] == ["Acme", "Own"]


@pytest.mark.parametrize(
    ("category", "policy", "outcome"),
    [
        ("marketing", "flag", "opt_out_hint_missing"),
        ("marketing", "allow", None),
        ("transactional", "refuse", None),
        ("otp", "refuse", None),
    ],
)
async def test_marketing_says_how_to_end_it(draft, category, policy, outcome):
    settings = {"compliance": {"opt_out_hint": policy}}
    order = await pipeline().admit(draft(settings, category=category))
    assert order.verdicts[4].code == outcome


SUBJECT = {"content": {"text": "Sale!", "subject": "Sale!"}}
MAIL = {**SUBJECT, "to": {"email": "anna@example.com"}, "plan": [{"channel": "email"}]}
BOTH = {
    **SUBJECT,
    "to": {"sms": "+4520123456", "email": "anna@example.com"},
    "plan": [{"channel": "sms"}, {"channel": "email"}],
}


@pytest.mark.parametrize(
    ("reachable", "fields", "code"),
    [
        (False, {"category": "marketing", **MAIL}, "unsubscribing_impossible"),
        (False, {"category": "marketing", **BOTH}, "unsubscribing_impossible"),
        (False, {"category": "marketing", "mode": Mode.TEST, **MAIL}, None),
        (False, {"category": "marketing"}, None),
        (False, MAIL, None),
        (True, {"category": "marketing", **MAIL}, None),
    ],
)
async def test_no_marketing_mail_goes_out_whose_unsubscribe_link_is_dead(
    draft, reachable, fields, code
):
    message = draft(**fields)
    layers = pipeline(marketing_mail=reachable)
    if code is None:
        await layers.admit(message)
        return
    with pytest.raises(Problem) as refusal:
        await layers.admit(message)
    assert refusal.value.details.code == code


async def test_marketing_without_a_way_out_is_refused_where_a_tenant_wants_it(draft):
    settings = {"compliance": {"opt_out_hint": "refuse"}}
    assert await refused(draft(settings, category="marketing")) == (
        "compliance_refused",
        [("opt_out_hint_missing", "/content/text")],
    )


STOP = {"text": "Sale! Reply STOP to end"}


@pytest.mark.parametrize(
    ("fields", "send_at"),
    [
        ({"category": "marketing"}, MORNING),
        ({"category": "transactional"}, None),
        ({"category": "otp"}, None),
        ({"category": "marketing", "to": {"email": "a@b.example"}}, None),
        # The client knows better than the number.
        (
            {"category": "marketing", "recipient": {"time_zone": "Pacific/Auckland"}},
            None,
        ),
        # A scheduled time in the night of the day after.
        (
            {"category": "marketing", "send_at": "2026-01-17T23:00:00Z"},
            datetime(2026, 1, 18, 7, 0, tzinfo=UTC),
        ),
        (
            {"category": "marketing", "send_at": "2026-01-17T12:00:00Z"},
            datetime(2026, 1, 17, 12, 0, tzinfo=UTC),
        ),
    ],
)
async def test_quiet_hours_put_marketing_off(draft, fields, send_at):
    order = await pipeline().admit(draft(now=EVENING, content=STOP, **fields))
    assert order.send_at == send_at
    deferred = send_at is not None and fields.get("send_at") != "2026-01-17T12:00:00Z"
    assert order.verdicts[4].outcome is (Outcome.DEFER if deferred else Outcome.PASS)


async def test_a_deferred_message_keeps_its_deadline(draft):
    order = await pipeline().admit(draft(now=EVENING, category="marketing", content=STOP))
    assert order.accepted_at == EVENING
    assert order.expires_at == EVENING + timedelta(hours=24)
    assert order.verdicts[4] == Verdict(
        "compliance",
        Outcome.DEFER,
        "quiet_hours",
        "until 2026-01-16T07:00:00Z by the clock of Europe/Copenhagen",
    )


@pytest.mark.parametrize(("ttl", "fits"), [(9.5 * 3600 + 60, True), (9.5 * 3600 + 59, False)])
async def test_quiet_hours_that_outlast_the_time_to_live(draft, ttl, fits):
    # 60 seconds are the plan's.
    plan = [{"channel": "sms", "timeout": 60}]
    message = draft(now=EVENING, category="marketing", content=STOP, ttl=ttl, plan=plan)
    if fits:
        assert (await pipeline().admit(message)).send_at == MORNING
    else:
        assert await refused(message) == (
            "compliance_refused",
            [("quiet_hours_outlast_ttl", "/ttl")],
        )


async def test_a_tenants_own_quiet_hours(draft):
    settings = {
        "compliance": {
            "marketing": None,
            "transactional": {"start": "22:00", "end": "07:00"},
        }
    }
    order = await pipeline().admit(draft(settings, now=EVENING))
    assert order.send_at == datetime(2026, 1, 16, 6, 0, tzinfo=UTC)
    order = await pipeline().admit(draft(settings, now=EVENING, category="marketing"))
    assert order.send_at is None


async def test_where_nobody_knows_the_clock_the_tenant_says_it(draft):
    push = {"to": {"push": "t" * 64}, "category": "marketing"}
    layers = in_order(providers=EveryChannel())
    order = await layers.admit(draft(now=EVENING, **push))
    assert (order.send_at, order.verdicts[4].code) == (None, "time_zone_unknown")
    settings = {"compliance": {"time_zone": "Europe/Copenhagen"}}
    order = await layers.admit(draft(settings, now=EVENING, **push))
    assert order.send_at == MORNING


class EveryChannel:
    def choose(self, tenant: str, channel: str, named: str | None) -> tuple[str, ...] | None:
        return ("any",)


async def test_an_unknown_time_zone_is_a_fault_of_the_request(draft):
    assert await refused(draft(recipient={"time_zone": "Mars/Olympus"})) == (
        "validation_failed",
        [("unknown_time_zone", "/recipient/time_zone")],
    )


MOBILE, EITHER = NumberKind.MOBILE, NumberKind.FIXED_OR_MOBILE


@pytest.mark.parametrize(
    ("fields", "settings", "recipient"),
    [
        ({}, {}, Recipient("DK", EITHER, "23801", "da-DK")),
        ({"to": {"sms": US}}, {}, Recipient("US", EITHER, None, "en-US")),
        ({"to": {"sms": "+4915112345678"}}, {}, Recipient("DE", MOBILE, None, "de-DE")),
        ({"to": {"sms": "+41781234567"}}, {}, Recipient("CH", MOBILE, None, None)),
        ({"recipient": {"locale": "fr"}}, {}, Recipient("DK", EITHER, "23801", "fr")),
        ({}, {"defaults": {"locale": "en-GB"}}, Recipient("DK", EITHER, "23801", "en-GB")),
        ({"to": {"email": "a@b.example"}}, {}, None),
        (
            {"to": {"email": "a@b.example"}},
            {"defaults": {"locale": "sv"}},
            Recipient(locale="sv"),
        ),
    ],
)
async def test_what_is_known_about_a_recipient(draft, fields, settings, recipient):
    order = await pipeline(operators=SomeOperators()).admit(draft(settings, **fields))
    assert order.recipient == recipient


async def test_nobody_pays_to_look_up_the_number_of_a_test_message(draft):
    operators = SomeOperators()
    order = await pipeline(operators=operators).admit(draft(mode=Mode.TEST))
    assert operators.asked == []
    assert order.recipient == Recipient("DK", EITHER, None, "da-DK")


class Reserving:
    """Takes a place for each message."""

    name = "rate"

    def __init__(self) -> None:
        self.taken = 0

    def check(self, draft) -> Verdict:
        self.taken += 1
        return Verdict(self.name)

    def give_back(self, draft) -> None:
        self.taken -= 1


class Refusing:
    name = "dedup"

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def check(self, draft) -> Verdict:
        raise self.error


@pytest.mark.parametrize("error", [Problem("duplicate_content"), OSError("the disk is full")])
async def test_what_was_reserved_is_given_back_when_a_later_layer_refuses(draft, error):
    rate = Reserving()
    with pytest.raises(type(error)):
        await pipeline(rate=rate, dedup=Refusing(error)).admit(draft())
    assert rate.taken == 0


async def test_what_an_earlier_layer_refuses_reserves_nothing(draft):
    rate = Reserving()
    with pytest.raises(Problem):
        await pipeline(rate=rate).admit(draft(content={"text": "{{name}}"}))
    assert rate.taken == 0
