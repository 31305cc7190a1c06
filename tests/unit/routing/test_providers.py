"""Which providers the API gives a step, and in which order."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.routing.library import Routing
from adapters.routing.prices import BookPrices
from adapters.routing.providers import ProviderRouter, TenantsChoice
from adapters.smpp.flow.pressure import CarrierReport
from adapters.wasm.installed import Installed
from adapters.wasm.manifest import Manifest
from domain.billing.money import micros
from domain.billing.prices import PriceBook, PriceRow
from domain.channels import plan as plans
from domain.enrichment import Recipient
from domain.message import Category, Content, MessageOrder
from domain.mode import Mode
from domain.providers import OWN
from domain.routing.choice import Why
from domain.routing.explanation import Asked
from domain.routing.question import NoRoute
from domain.routing.routes import Kind, Route
from domain.routing.rules import NO_RULES, RoutingRules
from handlers.api.services import OwnServices

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Adapters:
    """Those of one tenant, `acme`: name → (channel, priority). Some are sick."""

    def __init__(self, **adapters):
        self.sick = set()
        self.all = [
            Installed(
                "acme",
                name,
                "ab" * 32,
                1,
                Manifest(name, "1.0.0", "1.0.0", "For a test.", (channel,), ()),
                Path("none"),
                {},
                {},
                priority,
            )
            for name, (channel, priority) in adapters.items()
        ]

    def all_active(self):
        return self.all

    def active(self, tenant, adapter):
        named = (one for one in self.all if (one.tenant, one.adapter) == (tenant, adapter))
        return next(named, None)

    def choose(self, tenant, channel):
        return [
            one
            for one in self.all
            if one.tenant == tenant
            and channel in one.manifest.channels
            and one.adapter not in self.sick
        ]


class World:
    def __init__(self, routes=(), carriers=("telia",), rules=NO_RULES, prices=(), **adapters):
        self.routes, self.rules = tuple(routes), rules
        self.adapters = Adapters(**adapters)
        self.carriers = {name: CarrierReport(name) for name in carriers}
        book = PriceBook(
            PriceRow(
                f"prc_{route}", "sms", micros(amount), "EUR", NOW - timedelta(days=1), route=route
            )
            for route, amount in dict(prices).items()
        )
        routing = Routing(lambda: self.routes, lambda tenant: self.rules, BookPrices(lambda: book))
        self.router = ProviderRouter(routing, self.adapters, lambda: self.carriers)

    def order(self, *steps, to="+4520123456", **more):
        """Steps are pairs: a channel, and the adapters that the schema's layer found."""
        drafts = [
            plans.DraftStep(channel=channel, provider=more.pop("provider", None), adapters=adapters)
            for channel, adapters in steps
        ]
        addresses = {"sms": to, "email": "a@example.com", "whatsapp": to, "push": "token"}
        order = MessageOrder(
            tenant=more.pop("tenant", "acme"),
            to={draft.channel: addresses[draft.channel] for draft in drafts},
            content=Content("Hi"),
            plan=plans.complete(drafts, category=Category.OTP, ttl=timedelta(hours=1)),
            accepted_at=NOW,
            expires_at=NOW + timedelta(hours=1),
            **more,
        )
        return order, self.router.order("msg_1", order)

    def adapters_of(self, *step, **more):
        """What a single step may take."""
        _, ordered = self.order(step, **more)
        return ordered.plan[0].adapters


def carrier(name, **more):
    return Route(**{"name": name, "channel": "sms", "provider": name, **more})


def adapter(name, channel="sms", **more):
    return Route(
        **{"name": name, "channel": channel, "provider": name, "kind": Kind.ADAPTER, **more}
    )


BOTH = ("sms", (OWN, "twilio"))
TWILIO = {"twilio": ("sms", 60)}


def test_without_adapters_and_routes_nothing_is_touched():
    order, ordered = World().order(("sms", ()), ("email", ()))
    assert ordered is order


# the world, the step, what it may take
ORDERS = {
    "by priority, Hermes first": (World(**TWILIO), BOTH, (OWN, "twilio")),
    "by priority, the adapter first": (World(twilio=("sms", 40)), BOTH, ("twilio", OWN)),
    "the adapter is cheaper": (
        World(prices={"twilio": "0.01", "telia": "0.02"}, twilio=("sms", 50)),
        BOTH,
        ("twilio", OWN),
    ),
    "a carrier is cheaper": (
        World(
            prices={"twilio": "0.02", "telia": "0.03", "tdc": "0.01"},
            carriers=("telia", "tdc"),
            twilio=("sms", 50),
        ),
        BOTH,
        (OWN, "twilio"),
    ),
    "only a route's destinations": (
        World([adapter("twilio", prefixes=("1",))], **TWILIO),
        BOTH,
        (),
    ),
    "the carriers' routes are for others": (
        World([carrier("telia", tenants=("globex",))], **TWILIO),
        BOTH,
        ("twilio",),
    ),
    "a route's priority goes before the adapter's": (
        World([adapter("twilio", priority=1)], **TWILIO),
        BOTH,
        ("twilio", OWN),
    ),
    "the tenant's order": (
        World(rules=RoutingRules(order=("twilio",)), **TWILIO),
        BOTH,
        ("twilio", OWN),
    ),
    "excluded by the tenant": (
        World(rules=RoutingRules(exclude=("telia",)), **TWILIO),
        BOTH,
        ("twilio",),
    ),
    "no pool has said anything": (World(carriers=(), **TWILIO), BOTH, (OWN, "twilio")),
    "adapters alone": (
        World(a=("push", 2), b=("push", 1)),
        ("push", ("b", "a")),
        ("b", "a"),
    ),
    "one adapter": (World(a=("push", 2)), ("push", ("a",)), ("a",)),
    "the relay, and an adapter before it": (
        World(sendgrid=("email", 10)),
        ("email", (OWN, "sendgrid")),
        ("sendgrid", OWN),
    ),
    "the relay's route": (
        World(
            [Route("relay", "email", kind=Kind.OWN, priority=5)],
            sendgrid=("email", 10),
        ),
        ("email", ("sendgrid", OWN)),
        (OWN, "sendgrid"),
    ),
}


@pytest.mark.parametrize(("world", "step", "expected"), ORDERS.values(), ids=ORDERS)
def test_order(world, step, expected):
    assert world.adapters_of(*step) == expected


def test_a_sick_adapter_goes_last():
    world = World(twilio=("sms", 1))
    world.adapters.sick = {"twilio"}
    assert world.adapters_of("sms", ("twilio", OWN)) == (OWN, "twilio")


def test_carriers_that_are_all_down_go_last():
    world = World(**TWILIO)
    world.carriers = {"telia": CarrierReport("telia", trouble="down")}
    assert world.adapters_of(*BOTH) == ("twilio", OWN)


def test_a_choice_is_told_with_its_reason():
    world = World(prices={"twilio": "0.01", "telia": "0.02"}, twilio=("sms", 50))
    _, ordered = world.order(BOTH)
    choice = ordered.plan[0].route
    assert [(c.route, c.why, c.price) for c in choice.candidates] == [
        ("twilio", Why.CHEAPEST, "0.01"),
        ("telia", Why.DEARER, "0.02"),
    ]
    assert choice.currency == "EUR"


def test_a_step_without_a_route_is_refused():
    world = World([carrier("telia", prefixes=("46",))])
    with pytest.raises(NoRoute) as caught:
        world.order(("email", ()), ("sms", ()))
    assert (caught.value.step, caught.value.named) == (1, None)


RULES = {
    "none": (NO_RULES, True),
    "the same as none": (RoutingRules(), True),
    "the only carrier is excluded": (RoutingRules(exclude=("telia",)), False),
    "the only carrier is everybody's": (RoutingRules(own_only=True), False),
    "the only carrier is too dear": (RoutingRules(max_price=Decimal("0.10")), False),
    "dear, and not too dear": (RoutingRules(max_price=Decimal("5")), True),
    "another is excluded": (RoutingRules(exclude=("tdc",)), True),
}


@pytest.mark.parametrize(("rules", "taken"), RULES.values(), ids=RULES)
def test_a_tenants_rules_hold_where_there_is_one_carrier_and_no_route(rules, taken):
    world = World(rules=rules, prices={"telia": "5.00"})
    if taken:
        order, ordered = world.order(("sms", ()))
        assert ordered is order
    else:
        with pytest.raises(NoRoute):
            world.order(("sms", ()))


def test_a_carrier_may_be_named_by_a_tenant_with_rules_before_any_pool_has_said_a_word():
    world = World(carriers=(), rules=RoutingRules(exclude=("tdc",)))
    order, ordered = world.order(("sms", ()), provider="telia")
    assert ordered is order


def test_what_is_known_of_the_number_counts():
    world = World([carrier("telia", operators=("23801",))])
    world.order(("sms", ()), recipient=Recipient(operator="23801"))
    with pytest.raises(NoRoute):
        world.order(("sms", ()), recipient=Recipient(operator="23802"))


def test_a_test_message_takes_no_route():
    world = World([carrier("telia", prefixes=("46",))])
    order, ordered = world.order(("sms", ()), mode=Mode.TEST)
    assert ordered is order


def test_a_carrier_of_another_tenant_looks_like_none():
    world = World([carrier("mine", provider="telia", tenants=("globex",))])
    choice = TenantsChoice(OwnServices(), world.router)
    for name in ("telia", "mine", "nobody"):
        assert choice.choose("acme", "sms", name) is None
    assert choice.choose("globex", "sms", "mine") == ()
    assert choice.choose("globex", "sms", "telia") == ()
    assert choice.choose("acme", "sms", None) == ()
    assert choice.choose("acme", "push", None) is None


def test_a_route_that_is_named_must_lead_there():
    world = World([carrier("se", provider="telia", prefixes=("46",))])
    with pytest.raises(NoRoute) as caught:
        world.order(("sms", ()), provider="se")
    assert caught.value.named == "se"
    world.order(("sms", ()), provider="se", to="+46701234567")


@pytest.mark.parametrize(
    ("routes", "rules"),
    [
        ((adapter("twilio", enabled=False),), NO_RULES),
        ((adapter("twilio", tenants=("globex",)),), NO_RULES),
        ((), RoutingRules(exclude=("twilio",))),
    ],
)
def test_an_adapter_that_is_named_must_be_open(routes, rules):
    world = World(routes, rules=rules, **TWILIO)
    with pytest.raises(NoRoute):
        world.order(("sms", ("twilio",)), provider="twilio")
    world.routes, world.rules = (), NO_RULES
    world.order(("sms", ("twilio",)), provider="twilio")


def test_what_may_be_named():
    world = World(
        [carrier("dk", provider="telia"), carrier("off", enabled=False)],
        carriers=("telia", "tdc"),
        **TWILIO,
    )

    def named(channel):
        asked = ("dk", "telia", "tdc", "off", "twilio", "smtp", "email")
        return {name for name in asked if world.router.may_name("acme", channel, name)}

    assert named("sms") == {"dk", "telia", "tdc"}
    assert named("email") == {"email", "smtp"}
    assert named("push") == set()
    world.carriers = {}
    assert len(named("sms")) == 7, "nobody knows yet, and the pool will"


def test_the_relay_may_be_named():
    world = World([Route("relay", "email", kind=Kind.OWN)])
    world.order(("email", ()), provider="smtp")
    world.order(("email", ()), provider="relay")


def test_adapters_that_come_and_go_are_seen_at_once():
    world = World(**TWILIO)
    assert world.adapters_of(*BOTH) == (OWN, "twilio")
    world.adapters.all = []
    assert world.adapters_of(*BOTH) == ()


def test_the_explanation_has_every_route_and_what_was_left_out():
    world = World(
        [carrier("telia"), carrier("gone"), carrier("se", provider="telia", prefixes=("46",))],
        prices={"twilio": "0.01"},
        twilio=("sms", 50),
    )
    found = world.router.explain(Asked("acme", "sms", "+4520123456"))
    assert found.chosen == "twilio"
    assert [(c.route, c.why, c.implicit) for c in found.candidates] == [
        ("twilio", Why.CHEAPEST, True),
        ("telia", Why.DEARER, False),
    ]
    assert {(one.route, one.why.value) for one in found.left_out} == {
        ("gone", "unknown_provider"),
        ("se", "other_destination"),
    }


def test_prices_of_one_zone_are_the_same():
    book = PriceBook(
        [
            PriceRow("1", "sms", 1, "EUR", NOW, prefix="45"),
            PriceRow("2", "sms", 2, "EUR", NOW, prefix="4520"),
            PriceRow("3", "sms", 3, "EUR", NOW, tenant="acme"),
        ]
    )
    prices = BookPrices(lambda: book)
    world = World()
    zones = {}
    for tenant in ("acme", "globex", "initech"):
        for digits in ("4520123456", "4520999999", "4570123456", "4631"):
            question = Asked(tenant, "sms", f"+{digits}").question()
            price = prices.of(carrier("telia"), question, NOW + timedelta(days=1))
            amount = None if price is None else price.amount
            zones.setdefault(prices.zone(question), set()).add(amount)
    assert all(len(amounts) == 1 for amounts in zones.values())
    assert len(zones) == 6, "those without a list of their own share theirs"
    assert world.router.explain(Asked("acme", "sms", "+45201")).candidates[0].price is None
    assert Decimal("0.000003") in {amount for one in zones.values() for amount in one}


# the world, the step, what price lists call its ways
WAYS = {
    "carriers": ({"carriers": ("telia", "tdc")}, ("sms", ()), {"telia", "tdc"}),
    "no pool has said": ({"carriers": ()}, ("sms", ()), None),
    "carriers and an adapter": (TWILIO, BOTH, {"telia", "twilio"}),
    "an adapter alone": (TWILIO, ("sms", ("twilio",)), {"telia", "twilio"}),
    "routes elsewhere": (
        {"carriers": ("telia", "tdc"), "routes": (carrier("tdc", prefixes=("46",)),)},
        ("sms", ()),
        {"telia"},
    ),
    "excluded": (
        {"carriers": ("telia", "tdc"), "rules": RoutingRules(exclude=("tdc",))},
        ("sms", ()),
        {"telia"},
    ),
    "by mail": ({}, ("email", ()), {"smtp"}),
}


@pytest.mark.parametrize(("world", "step", "ways"), WAYS.values(), ids=WAYS)
def test_the_ways_that_a_step_may_take(world, step, ways):
    world = World(**world)
    order, _ = world.order(step)
    found = world.router.ways("msg_1", order, order.plan[0])
    assert (found if found is None else set(found)) == ways


@pytest.mark.parametrize("name", ["tdc", "second"])
def test_the_way_that_a_step_asks_for(name):
    world = World(carriers=("telia", "tdc"), routes=(carrier("second", provider="tdc"),))
    order, _ = world.order(("sms", ()), provider=name)
    assert world.router.ways("msg_1", order, order.plan[0]) == ("tdc",)


def test_a_way_that_is_down_is_still_one():
    world = World(carriers=("telia", "tdc"))
    world.carriers = {**world.carriers, "tdc": CarrierReport("tdc", trouble="unbound")}
    order, _ = world.order(("sms", ()))
    assert set(world.router.ways("msg_1", order, order.plan[0])) == {"telia", "tdc"}
