"""Routes among carriers: which takes an attempt, what is told of it, what is learned from it."""

import asyncio
import time
from decimal import Decimal

import pytest

from adapters.routing.library import Routing
from adapters.smpp.carriers.carrier import Order
from adapters.smpp.carriers.choice import CarrierChoice
from adapters.smpp.carriers.mesh import Mesh
from domain.delivery import SubmissionState
from domain.enrichment import Recipient
from domain.failures import FailureCode
from domain.message import Category
from domain.routing.choice import Why
from domain.routing.explanation import Asked
from domain.routing.quality import Quality
from domain.routing.question import Price
from domain.routing.routes import Route
from domain.routing.rules import NO_RULES, Pin, RoutingRules
from tests.unit.smpp_pool.conftest import config_for
from tests.waiting import eventually

TAKEN, FAILED = SubmissionState.TAKEN, SubmissionState.FAILED


class Said:
    """What operators and tenants have said; it may change at any time."""

    def __init__(self, *routes, rules=NO_RULES):
        self.routes, self.rules, self.quality = routes, rules, Quality()
        self.routing = Routing(lambda: self.routes, lambda tenant: self.rules, quality=self.quality)


def route(name, **more):
    return Route(**{"name": name, "channel": "sms", "provider": name, **more})


@pytest.fixture
def two(smsc, pool):
    """A pool with the carriers `carrier` and `other`, both bound, and what is said of them."""

    async def start(said, first=None, second=None, **options):
        simulators = [await smsc(**options), await smsc(**options)]
        patient = {"response_timeout": 5.0}
        other = config_for(simulators[1].port, name="other", **patient, **(second or {}))
        hermes = await pool(simulators[0], more=[other], **patient, **(first or {}))
        hermes.binds.choice = CarrierChoice(hermes.binds.mesh, said.routing)
        hermes.correlator.on_settled = hermes.binds.choice.reported
        await eventually(lambda: all(c.bound for c in hermes.binds.mesh.carriers))
        return hermes

    return start


@pytest.fixture
async def mesh():
    """A mesh of carriers that nobody answers: `mesh(name={…}, …)`."""
    made = []

    def make(**configs):
        made.append(Mesh(lambda name: None))
        for name, config in configs.items():
            made[-1].add(config_for(1, name=name, **config), Order.DRAINED)
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def test_a_route_goes_before_the_carriers_order(two, request_for):
    said = Said(route("cheap", provider="other", priority=1))
    hermes = await two(said)
    answer = await hermes.deliver(request_for())
    assert (answer.provider, answer.route.route, answer.route.why) == (
        "other",
        "cheap",
        Why.PRIORITY,
    )
    assert [(c.route, c.why) for c in answer.route.candidates] == [
        ("cheap", Why.PRIORITY),
        ("carrier", Why.LOWER_PRIORITY),
    ]


async def test_a_change_is_used_by_the_next_message(two, request_for):
    said = Said()
    hermes = await two(said)
    assert (await hermes.deliver(request_for(message="1"))).provider == "carrier"
    said.routes = (route("cheap", provider="other", priority=1),)
    assert (await hermes.deliver(request_for(message="2"))).provider == "other"
    said.routes = (route("cheap", provider="other", enabled=False),)
    assert (await hermes.deliver(request_for(message="3"))).provider == "carrier"


async def test_one_carrier_and_no_routes_tell_no_choice(smsc, pool, request_for):
    hermes = await pool(await smsc())
    assert (await hermes.deliver(request_for())).route is None


# the request, what carries it: `mine` is acme's own by `other`, `otp` for passwords by `carrier`
LIMITS = {
    "the tenant's own": ({}, "other"),
    "another tenant": ({"tenant": "globex"}, None),
    "another tenant's password": ({"tenant": "globex", "category": Category.OTP}, "carrier"),
    "named": ({"provider": "other"}, "other"),
    "named by its route": ({"provider": "mine"}, "other"),
    "another tenant names it": ({"tenant": "globex", "provider": "other"}, None),
    "another tenant names its route": ({"tenant": "globex", "provider": "mine"}, None),
    "named, and not for this": ({"provider": "otp"}, None),
}


@pytest.mark.parametrize(("request_", "provider"), LIMITS.values(), ids=LIMITS)
async def test_limits(two, request_for, request_, provider):
    said = Said(
        route("mine", provider="other", tenants=("acme",)),
        route("otp", provider="carrier", categories=(Category.OTP,)),
    )
    hermes = await two(said)
    answer = await hermes.deliver(request_for(**request_))
    assert answer.provider == provider
    if provider is None:
        assert (answer.state, answer.failure.code) == (FAILED, FailureCode.NOT_SUPPORTED)


async def test_a_tenants_pin_holds_while_the_route_is_up(two, request_for):
    said = Said(rules=RoutingRules(pins=(Pin("other"),)))
    hermes = await two(said)
    answer = await hermes.deliver(request_for(message="1"))
    assert (answer.provider, answer.route.why) == ("other", Why.PINNED)
    await hermes.binds.mesh.get("other").suspend()
    answer = await hermes.deliver(request_for(message="2"))
    assert (answer.provider, answer.route.why) == ("carrier", Why.UP)


async def test_overflow_is_told(two, request_for):
    hermes = await two(Said(), first={"window": 1, "rate": 1})
    answers = await asyncio.gather(
        *(hermes.deliver(request_for(message=str(n))) for n in range(10))
    )
    assert {answer.state for answer in answers} == {TAKEN}
    overflowed = [answer.route for answer in answers if answer.provider == "other"]
    assert overflowed
    assert {route.why for route in overflowed} == {Why.ROOM}
    assert {route.candidates[1].why for route in overflowed} == {Why.NO_ROOM}


REFUSED = "+4520109905"
"""The simulator refuses it, and the first carrier calls that an error of its own."""
OF_ITS_OWN = {"command_status": {"ESME_RINVDSTADR": "provider_error"}}


async def test_a_message_that_a_carrier_failed_takes_another(two, request_for):
    hermes = await two(Said(), first=OF_ITS_OWN)
    first = await hermes.deliver(request_for(REFUSED))
    assert (first.state, first.provider) == (FAILED, "carrier")
    again = await hermes.deliver(request_for(REFUSED, attempt=2))
    assert (again.provider, again.route.why) == ("other", Why.UNTRIED)
    assert again.route.candidates[1].why is Why.FAILED_BEFORE
    others = await hermes.deliver(request_for(message="msg_2"))
    assert others.provider == "carrier", "only this message looks elsewhere"


async def test_a_recipient_that_does_not_exist_is_no_reason_to_look_elsewhere(two, request_for):
    hermes = await two(Said())
    for attempt in (1, 2):
        answer = await hermes.deliver(request_for(REFUSED, attempt=attempt))
        assert (answer.provider, answer.failure.code) == (
            "carrier",
            FailureCode.RECIPIENT_INVALID,
        )


# What is learned


async def test_deliveries_and_their_time_are_counted(two, request_for):
    said = Said()
    hermes = await two(said, receipt_delay=0.3)
    await asyncio.gather(*(hermes.deliver(request_for(message=str(n))) for n in range(30)))
    await eventually(lambda: said.quality.of("carrier:carrier", "45", time.time()).seen == 30)
    estimate = said.quality.of("carrier:carrier", "45", time.time() + 1)
    assert estimate.rate > 0.95
    assert estimate.latency < 3
    assert said.quality.of("carrier:other", "45", time.time() + 1).seen == 0


async def test_a_carrier_that_fails_most_of_it_is_left(two, request_for):
    said = Said()
    hermes = await two(said, first=OF_ITS_OWN)
    # Messages that look elsewhere only by what others have met.
    for n in range(40):
        await hermes.deliver(request_for(REFUSED, message=f"msg_{n}"))
    now = time.time() + 1
    assert said.quality.of("carrier:carrier", "45", now).rate < 0.5
    await eventually(
        lambda: hermes.binds.choice.explain(Asked("acme", "sms", "+4520100000")).chosen == "other"
    )
    answer = await hermes.deliver(request_for(message="last"))
    # How sure it is depends on how many messages met the carrier within the first second.
    told = (answer.route.why, answer.route.candidates[1].why)
    assert answer.provider == "other"
    assert told in {(Why.SOUND, Why.POOR), (Why.BETTER, Why.WORSE)}
    # In another country nothing is known against it.
    answer = await hermes.deliver(request_for("+46701234567", message="swedish"))
    assert answer.provider == "carrier"


async def test_what_is_wrong_with_the_message_is_not_held_against_the_carrier(two, request_for):
    said = Said()
    hermes = await two(said)
    for n in range(30):
        await hermes.deliver(request_for(REFUSED, message=f"msg_{n}"))
    assert said.quality.of("carrier:carrier", "45", time.time() + 1).seen == 0


# The question


@pytest.mark.parametrize(
    ("recipient", "taken"),
    [(None, "a"), (Recipient(country="DK"), "a"), (Recipient(country="SE"), "b")],
)
async def test_the_country_is_the_messages_or_else_the_numbers(mesh, request_for, recipient, taken):
    said = Said(route("a", countries=("DK",)), route("b", countries=("SE",)))
    choice = CarrierChoice(mesh(a={}, b={}), said.routing)
    routed = choice.choose(request_for("+4520100000", recipient=recipient))
    assert [carrier.name for carrier in routed.carriers] == [taken]


async def test_without_routes_the_order_is_the_meshs(mesh, request_for):
    carriers = mesh(any={}, dk={"prefixes": ("45",)}, mobile={"prefixes": ("4520",)}, last={})
    choice = CarrierChoice(carriers, Said().routing)
    for number in ("+4520100000", "+4570101010", "+14155550100"):
        routed = choice.choose(request_for(number))
        assert routed.carriers == carriers.candidates(None, number)


class FiveEuros:
    """Every price is."""

    def of(self, route, question, at):
        return Price(Decimal("5.00"), "EUR")

    def zone(self, question):
        return None


@pytest.mark.parametrize("names", [("a",), ("a", "b")])
@pytest.mark.parametrize(
    ("rules", "taken"),
    [
        (RoutingRules(), True),
        (RoutingRules(max_price=Decimal("5.00")), True),
        (RoutingRules(max_price=Decimal("4.99")), False),
        (RoutingRules(exclude=("a", "b")), False),
        (RoutingRules(own_only=True), False),
    ],
)
async def test_a_tenants_rules_hold_for_one_carrier_as_for_two(
    mesh, request_for, names, rules, taken
):
    routing = Routing(rules=lambda tenant: rules, prices=FiveEuros())
    choice = CarrierChoice(mesh(**{name: {} for name in names}), routing)
    carriers = choice.choose(request_for()).carriers
    assert [carrier.name for carrier in carriers] == (list(names) if taken else [])


async def test_carriers_that_come_and_go_are_routes_at_once(mesh, request_for):
    carriers = mesh(a={}, b={})
    choice = CarrierChoice(carriers, Said().routing)
    assert len(choice.choose(request_for()).carriers) == 2
    await carriers.remove("a")
    carriers.add(config_for(1, name="c"), Order.DRAINED)
    assert [c.name for c in choice.choose(request_for()).carriers] == ["b", "c"]


async def test_the_carriers_that_an_attempt_may_come_to(mesh):
    said = Said(route("mine", provider="a"))
    choice = CarrierChoice(mesh(a={}, b={}), said.routing)
    assert choice.providers(None) == ("a", "b")
    assert choice.providers("mine") == choice.providers("a") == ("a",)
    assert choice.providers("b") == ("b",)
    assert choice.providers("c") == ()


async def test_two_routes_by_one_carrier_are_one_candidate_to_the_pool(mesh, request_for):
    said = Said(route("a1", provider="a", priority=2), route("a2", provider="a", priority=1))
    choice = CarrierChoice(mesh(a={}, b={}), said.routing)
    assert [c.name for c in choice.choose(request_for()).carriers] == ["a", "b"]


async def test_a_choice_that_is_limited_to_some_carriers(two, request_for):
    hermes = await two(Said(route("cheap", provider="other", priority=1)))
    answer = await hermes.deliver(request_for(carriers=("carrier",)))
    assert (answer.provider, answer.route) == ("carrier", None)


async def test_a_limit_holds_for_a_carrier_that_is_alone(mesh, request_for):
    choice = CarrierChoice(mesh(new={}), Said().routing)
    assert [one.name for one in choice.choose(request_for()).carriers] == ["new"]
    assert choice.choose(request_for(carriers=("gone",))).carriers == []


@pytest.mark.parametrize("left", [("carrier",), ("gone",)], ids=["another", "none"])
async def test_an_attempt_that_a_carrier_has_is_not_given_to_another(two, request_for, left):
    hermes = await two(Said(route("first", provider="other", priority=1)))
    taken = await hermes.deliver(request_for())
    assert taken.provider == "other"
    again = await hermes.deliver(request_for(carriers=left))
    assert (again.provider, again.provider_ids) == ("other", taken.provider_ids)
