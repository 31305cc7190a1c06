"""The order of candidates, and the reason that each is given."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from domain.message import Category
from domain.routing.choice import Why
from domain.routing.quality import Quality
from domain.routing.question import WELL, Condition, NoPrices, Price, Question
from domain.routing.router import Router
from domain.routing.routes import Route
from domain.routing.rules import NO_RULES, Pin, RoutingRules
from domain.routing.table import LeftOut, RouteTable

NOW = 1_800_000_000.0
AT = datetime.fromtimestamp(NOW, UTC)


class Prices:
    """What each provider costs, by its name."""

    def __init__(self, **amounts):
        self.amounts = amounts

    def of(self, route, question, at):
        amount = self.amounts.get(route.provider)
        return None if amount is None else Price(Decimal(amount), "EUR")

    def zone(self, question):
        return None


class Providers:
    """All are well but for those that are named: `down` ones, and `gone` ones."""

    def __init__(self, down=(), gone=()):
        self.down, self.gone = down, gone

    def of(self, route, question):
        if route.provider in self.gone:
            return None
        return Condition(False, "link lost") if route.provider in self.down else WELL


def quality(**rates):
    """100 messages each, of which a share was delivered, in `latency` seconds: `a=0.9`, or
    `a=(0.9, 20)`."""
    known = Quality()
    for provider, said in rates.items():
        rate, latency = said if isinstance(said, tuple) else (said, 5.0)
        seen(known, provider, rate, latency)
    return known


def seen(known, provider, rate, latency=5.0, count=100, at=NOW):
    for n in range(count):
        known.sent(f"carrier:{provider}", "45", at)
        if n < rate * count:
            known.delivered(f"carrier:{provider}", "45", at, at + latency)
        else:
            known.failed(f"carrier:{provider}", "45", at)


def route(name, **more):
    return Route(**{"name": name, "channel": "sms", "provider": name, **more})


def ask(**more):
    return Question(**{"tenant": "acme", "channel": "sms", "digits": "4520123456", **more})


def ranked(routes, *, prices=None, known=None, rules=NO_RULES, down=(), gone=(), **message):
    router = Router(RouteTable(routes), prices or NoPrices(), known or Quality())
    return router.rank(ask(**message), rules, Providers(down, gone), NOW, AT)


def order(ranking):
    return [
        (option.route.name, why.value)
        for option, why in zip(ranking.options, ranking.whys(), strict=True)
    ]


A, B, C = route("a"), route("b"), route("c")
POLICY = {
    "one": ([A], {}, "a:only"),
    "none": ([], {}, ""),
    "all equal": ([A, B], {}, "a:first b:later"),
    "asked for": ([A, B], {"named": "b"}, "b:named"),
    "price": ([A, B], {"prices": Prices(a="0.02", b="0.01")}, "b:cheapest a:dearer"),
    "nearly the same price": ([A, B], {"prices": Prices(a="0.0101", b="0.01")}, "a:first b:later"),
    "no price goes last": ([A, B], {"prices": Prices(b="9")}, "b:cheapest a:dearer"),
    "priority before price": (
        [A, route("b", priority=51)],
        {"prices": Prices(a="0.02", b="0.01")},
        "a:priority b:lower_priority",
    ),
    "the longer prefix": (
        [route("a", prefixes=("45",)), route("b", prefixes=("4520",)), C],
        {},
        "b:closest a:wider c:wider",
    ),
    "price before prefix": (
        [route("a", prefixes=("4520",)), B],
        {"prices": Prices(a="0.02", b="0.01")},
        "b:cheapest a:dearer",
    ),
    "the tenant's own before everybody's": (
        [A, route("b", tenants=("acme",))],
        {"prices": Prices(a="0.01", b="0.02")},
        "b:own a:shared",
    ),
    "clearly better": ([A, B], {"known": quality(a=0.85, b=0.95)}, "b:better a:worse"),
    "not clearly better": ([A, B], {"known": quality(a=0.93, b=0.95)}, "a:first b:later"),
    "quicker": (
        [A, B],
        {"known": quality(a=(0.95, 25), b=(0.95, 1)), "category": Category.OTP},
        "b:better a:worse",
    ),
    "quicker, and nobody minds": (
        [A, B],
        {"known": quality(a=(0.95, 20), b=(0.95, 1))},
        "a:first b:later",
    ),
    "price before quality": (
        [A, B],
        {"known": quality(a=0.85, b=0.97), "prices": Prices(a="0.01", b="0.02")},
        "a:cheapest b:dearer",
    ),
    "much worse, whatever it costs": (
        [A, B],
        {"known": quality(a=0.5, b=0.97), "prices": Prices(a="0.01", b="0.02")},
        "b:sound a:poor",
    ),
    "much worse, whatever its priority": (
        [route("a", priority=1), B],
        {"known": quality(a=0.5, b=0.97)},
        "b:sound a:poor",
    ),
    "down": ([A, B], {"down": "a"}, "b:up a:down"),
    "all down": ([A, B], {"down": "ab"}, "a:first b:later"),
    "not there": ([A, B], {"gone": "a"}, "b:only"),
    "has failed the message": ([A, B], {"failed": ("a",)}, "b:untried a:failed_before"),
    "what has failed before what is down": (
        [A, B],
        {"failed": ("a",), "down": "b"},
        "a:up b:down",
    ),
    "excluded": ([A, B], {"rules": RoutingRules(exclude=("a",))}, "b:only"),
    "only its own": (
        [A, route("b", tenants=("acme",))],
        {"rules": RoutingRules(own_only=True)},
        "b:only",
    ),
    "in the tenant's order": (
        [A, B, C],
        {"rules": RoutingRules(order=("c", "b")), "prices": Prices(a="0.01", b="0.02", c="0.03")},
        "c:tenant_order b:later a:later",
    ),
    "pinned": (
        [A, B],
        {"rules": RoutingRules(pins=(Pin("b"),)), "prices": Prices(a="0.01", b="0.02")},
        "b:pinned a:not_pinned",
    ),
    "pinned for another destination": (
        [A, B],
        {"rules": RoutingRules(pins=(Pin("b", prefixes=("46",)),))},
        "a:first b:later",
    ),
    "pinned for the country": (
        [A, B],
        {"rules": RoutingRules(pins=(Pin("b", countries=("DK",)),)), "country": "DK"},
        "b:pinned a:not_pinned",
    ),
    "pinned, and down": (
        [A, B],
        {"rules": RoutingRules(pins=(Pin("b"),)), "down": "b"},
        "a:up b:down",
    ),
    "too dear": (
        [A, B],
        {"rules": RoutingRules(max_price=Decimal("0.015")), "prices": Prices(a="0.02", b="0.01")},
        "b:only",
    ),
    "by priority alone": (
        [route("a", priority=1), B],
        {"rules": RoutingRules(strategy="priority"), "prices": Prices(a="0.02", b="0.01")},
        "a:priority b:lower_priority",
    ),
    "by priority, and nobody looks at prices": (
        [A, B],
        {"rules": RoutingRules(strategy="priority"), "prices": Prices(a="0.02", b="0.01")},
        "a:first b:later",
    ),
}


@pytest.mark.parametrize(("routes", "world", "expected"), POLICY.values(), ids=POLICY)
def test_policy(routes, world, expected):
    ranking = ranked(routes, **world)
    assert " ".join(f"{name}:{why}" for name, why in order(ranking)) == expected


def test_the_choice_tells_the_winner_the_others_and_their_scores():
    ranking = ranked(
        [A, B, C], prices=Prices(a="0.020", b="0.01"), known=quality(b=(0.9, 2)), down="c"
    )
    choice = ranking.choice()
    assert (choice.route, choice.why, choice.strategy, choice.currency) == (
        "b",
        Why.CHEAPEST,
        "least-cost",
        "EUR",
    )
    told = [(c.route, c.why, c.price, c.rate) for c in choice.candidates]
    assert told[0] == ("b", Why.CHEAPEST, "0.01", pytest.approx(0.9, abs=0.02))
    assert told[1:] == [("a", Why.DEARER, "0.02", None), ("c", Why.DOWN, None, None)]


def test_what_had_no_room_is_told_as_such():
    choice = ranked([A, B, C]).choice("b")
    assert [(c.route, c.why) for c in choice.candidates] == [
        ("b", Why.ROOM),
        ("a", Why.NO_ROOM),
        ("c", Why.LATER),
    ]


def test_a_long_list_is_cut():
    routes = [route(f"r{n}") for n in range(9)]
    choice = ranked(routes).choice("r7")
    assert [c.route for c in choice.candidates] == ["r7", "r0", "r1", "r2", "r3"]
    assert choice.others == 4


# Over time


class Clock:
    """A router that is asked again and again, a second later each time."""

    def __init__(self, routes, known, rules=NO_RULES):
        self.known, self.rules, self.now = known, rules, NOW
        self.router = Router(RouteTable(routes), NoPrices(), known)

    def first(self, **message):
        self.now += 1
        ranking = self.router.rank(ask(**message), self.rules, Providers(), self.now, AT)
        return ranking.options[0].route.name


def test_a_winner_stays_until_another_is_clearly_better():
    known = Quality()
    clock = Clock([A, B], known)
    seen(known, "a", 0.95)
    seen(known, "b", 0.95)
    assert clock.first() == "a"
    seen(known, "a", 0.95 - 0.05)  # together some 0.925
    assert clock.first() == "a"
    seen(known, "a", 0.7, count=200)
    assert clock.first() == "b"
    # And it is not left again as soon as the two are about the same.
    seen(known, "b", 0.93, count=100)
    seen(known, "a", 1.0, count=300)
    assert clock.first() == "b"


def test_who_is_poor_stays_so_until_it_is_nearly_as_good():
    known = Quality()
    clock = Clock([route("a", priority=1), B], known)
    seen(known, "b", 0.95)
    seen(known, "a", 0.6)
    assert clock.first() == "b"
    seen(known, "a", 0.95, count=100)  # some 0.78: better than POOR_FROM
    assert clock.first() == "b"
    seen(known, "a", 0.97, count=300)
    assert clock.first() == "a"


def test_a_few_bad_messages_are_no_evidence():
    known = Quality()
    seen(known, "b", 0.95)
    seen(known, "a", 0.0, count=10)
    assert Clock([route("a", priority=1), B], known).first() == "a"


def test_who_was_bad_gets_another_chance_when_its_past_has_faded():
    known = Quality()
    clock = Clock([route("a", priority=1), B], known)
    seen(known, "b", 0.95, count=10_000)
    seen(known, "a", 0.2)
    assert clock.first() == "b"
    clock.now += 20 * 60
    assert clock.first() == "a"


def test_changed_routes_are_used_at_once():
    clock = Clock([A, B], Quality())
    assert clock.first() == "a"
    clock.router.table = RouteTable([route("a", enabled=False), B])
    assert clock.first() == "b"


def test_traffic_is_divided_by_weight():
    router = Router(
        RouteTable([route("a", weight=100), route("b", weight=300), route("c", priority=90)]),
        NoPrices(),
        Quality(),
        strategy="weighted",
    )

    def take(draw):
        ranking = router.rank(ask(draw=draw), NO_RULES, Providers(), NOW, AT)
        assert ranking.options[2].route.name == "c"
        return ranking.options[0].route.name

    draws = [(n * 2_654_435_761) % 2**32 for n in range(4000)]
    taken = [take(draw) for draw in draws]
    assert 0.22 < taken.count("a") / len(taken) < 0.28
    assert [take(draw) for draw in draws] == taken, "a message meets the same order again"


def test_a_tenants_weights_go_before_the_routes_own():
    rules = RoutingRules(strategy="weighted", weights={"a": 1000, "b": 1})
    router = Router(RouteTable([A, route("b", weight=1000)]), NoPrices(), Quality())
    firsts = [
        router.rank(ask(draw=n * 2_654_435_761 % 2**32), rules, Providers(), NOW, AT)
        .options[0]
        .route.name
        for n in range(500)
    ]
    assert firsts.count("a") > 490


def test_a_drawn_order_is_not_changed_by_the_next_message():
    rules = RoutingRules(strategy="weighted")
    router = Router(RouteTable([A, B]), NoPrices(), Quality())
    rankings = [
        router.rank(ask(draw=n * 99_999_989), rules, Providers(), NOW, AT) for n in range(50)
    ]
    for ranking in rankings:
        first = ranking.options[0].route.name
        assert ranking.choice().route == first
        assert ranking.choice().why is Why.SHARE


def test_who_is_left_out_and_why():
    routes = [A, route("b", prefixes=("46",)), route("c"), route("d"), route("e")]
    rules = RoutingRules(exclude=("c",), max_price=Decimal("0.01"))
    router = Router(RouteTable(routes), Prices(d="0.02"), Quality())
    found = router.dismissed(ask(), rules, Providers(gone="e"), AT)
    assert [(one.route.name, one.why) for one in found] == [
        ("b", LeftOut.OTHER_DESTINATION),
        ("c", LeftOut.EXCLUDED),
        ("d", LeftOut.TOO_DEAR),
        ("e", LeftOut.UNKNOWN_PROVIDER),
    ]
