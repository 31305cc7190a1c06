"""Which routes a message may take at all."""

import pytest

from domain.message import Category
from domain.routing.question import Question
from domain.routing.routes import Kind, Route, RouteFault, check
from domain.routing.table import LeftOut, RouteTable

OTP, MARKETING = Category.OTP, Category.MARKETING


def route(name, **more):
    return Route(**{"name": name, "channel": "sms", "provider": name, **more})


def ask(digits="4520123456", **more):
    return Question(**{"tenant": "acme", "channel": "sms", "digits": digits, **more})


# the route's limits, what the message is, why the route is left out; None when it is a candidate
LIMITS = {
    "no limits": ({}, {}, None),
    "disabled": ({"enabled": False}, {}, LeftOut.DISABLED),
    "prefix": ({"prefixes": ("45",)}, {}, None),
    "one of several prefixes": ({"prefixes": ("46", "4520")}, {}, None),
    "other prefix": ({"prefixes": ("46",)}, {}, LeftOut.OTHER_DESTINATION),
    "longer prefix than the number": (
        {"prefixes": ("45201234567",)},
        {},
        LeftOut.OTHER_DESTINATION,
    ),
    "country": ({"countries": ("DK",)}, {"country": "DK"}, None),
    "other country": ({"countries": ("SE",)}, {"country": "DK"}, LeftOut.OTHER_DESTINATION),
    "country not known": ({"countries": ("DK",)}, {}, LeftOut.OTHER_DESTINATION),
    "prefix or country": ({"prefixes": ("46",), "countries": ("DK",)}, {"country": "DK"}, None),
    "operator": ({"operators": ("23801",)}, {"operator": "23801"}, None),
    "other operator": ({"operators": ("23801",)}, {"operator": "23802"}, LeftOut.OTHER_OPERATOR),
    "operator not known": ({"operators": ("23801",)}, {}, LeftOut.OTHER_OPERATOR),
    "number type": ({"number_types": ("mobile",)}, {"number_type": "mobile"}, None),
    "other number type": (
        {"number_types": ("mobile",)},
        {"number_type": "fixed"},
        LeftOut.OTHER_NUMBER_TYPE,
    ),
    "category": ({"categories": (OTP,)}, {"category": OTP}, None),
    "other category": ({"categories": (OTP,)}, {"category": MARKETING}, LeftOut.OTHER_CATEGORY),
    "sender": ({"senders": ("Acme",)}, {"sender": "Acme"}, None),
    "other sender": ({"senders": ("Acme",)}, {"sender": "Globex"}, LeftOut.OTHER_SENDER),
    "no sender": ({"senders": ("Acme",)}, {}, LeftOut.OTHER_SENDER),
    "tenant": ({"tenants": ("acme",)}, {}, None),
    "another tenant's": ({"tenants": ("globex",)}, {}, LeftOut.OTHER_TENANT),
    "named": ({}, {"named": "it"}, None),
    "named by its provider": ({"provider": "telia"}, {"named": "telia"}, None),
    "another is named": ({}, {"named": "other"}, LeftOut.NOT_NAMED),
    "named, and not for this destination": (
        {"prefixes": ("46",)},
        {"named": "it"},
        LeftOut.OTHER_DESTINATION,
    ),
    "named, and another tenant's": (
        {"tenants": ("globex",)},
        {"named": "it"},
        LeftOut.OTHER_TENANT,
    ),
}


@pytest.mark.parametrize(("limits", "message", "why"), LIMITS.values(), ids=LIMITS)
def test_limits(limits, message, why):
    table, question = RouteTable([route("it", **limits)]), ask(**message)
    candidates = table.candidates(question)
    assert [c.route.name for c in candidates] == ([] if why else ["it"])
    assert table.left_out(question) == ([(table.routes[0], why)] if why else [])


def test_other_channels_do_not_matter():
    table = RouteTable([route("mail", channel="email", kind=Kind.OWN, provider="")])
    assert table.candidates(ask()) == ()
    assert table.left_out(ask()) == []


# What looks the same to one route is not the same to another: the memory must tell them apart.
def test_answers_that_are_remembered_are_right_for_every_message():
    routes = [
        route("dk", prefixes=("45",)),
        route("dk20", prefixes=("4520",)),
        route("se", countries=("SE",)),
        route("otp", categories=(OTP,)),
        route("acme", tenants=("acme",)),
        route("network", operators=("23801",)),
        route("named", senders=("Acme",)),
    ]
    table = RouteTable(routes)
    questions = [
        ask(digits, country=country, category=category, tenant=tenant, operator=net, sender=sender)
        for digits in ("4520123456", "4570123456", "46701234567", "1")
        for country in ("DK", "SE", None)
        for category in (OTP, MARKETING)
        for tenant in ("acme", "globex")
        for net in ("23801", None)
        for sender in ("Acme", None)
    ]
    for _ in range(2):
        for question in questions:
            fresh = RouteTable(routes).candidates(question)
            assert table.candidates(question) == fresh


@pytest.mark.parametrize(
    ("digits", "country", "matched"),
    [("4520123456", None, 4), ("4570123456", None, 2), ("46701234567", "SE", 1)],
)
def test_how_closely_a_route_names_the_destination(digits, country, matched):
    table = RouteTable([route("it", prefixes=("45", "4520"), countries=("SE",))])
    (candidate,) = table.candidates(ask(digits, country=country))
    assert candidate.matched == matched


def test_a_provider_that_no_route_names_is_a_route_by_itself():
    implicit = [route("telia"), route("tdc", prefixes=("46",))]
    table = RouteTable([route("mine", provider="telia", tenants=("globex",))], implicit)
    assert [r.name for r in table.implicit] == ["tdc"]
    assert table.candidates(ask()) == ()
    # Whoever names a provider means it, wherever it would be chosen otherwise.
    assert [c.route.name for c in table.candidates(ask(named="tdc"))] == ["tdc"]
    assert [c.route.name for c in table.candidates(ask(tenant="globex"))] == ["mine"]


# field, value, what is wrong with it
FAULTS = [
    ({"channel": "fax"}, "channel"),
    ({"kind": Kind.OWN}, "kind"),
    ({"channel": "whatsapp", "kind": Kind.OWN}, "kind"),
    ({"channel": "email", "kind": Kind.OWN}, "provider"),
    ({"provider": ""}, "provider"),
    ({"channel": "email"}, "kind"),
    ({"channel": "push", "kind": Kind.ADAPTER, "prefixes": ("45",)}, "prefixes"),
    ({"tenants": tuple(map(str, range(2001)))}, "tenants"),
]


@pytest.mark.parametrize(("wrong", "field"), FAULTS)
def test_a_route_that_makes_no_sense(wrong, field):
    with pytest.raises(RouteFault) as caught:
        check(route("it", **wrong))
    assert caught.value.field == field
