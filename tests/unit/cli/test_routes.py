"""`hermes routes`: what it asks of the API, and what a person reads."""

import json

import pytest

ROUTE = {
    "name": "dk",
    "channel": "sms",
    "kind": "carrier",
    "provider": "telia",
    "prefixes": ["45"],
    "countries": [],
    "operators": [],
    "number_types": [],
    "categories": ["otp"],
    "senders": [],
    "tenants": ["acme", "globex"],
    "priority": 40,
    "weight": 100,
    "enabled": True,
    "note": "",
}
CANDIDATE = {
    "route": "dk",
    "kind": "carrier",
    "provider": "telia",
    "why": "cheapest",
    "up": True,
    "trouble": None,
    "wait": None,
    "price": "0.01",
    "currency": "EUR",
    "rate": 0.975,
    "latency": 2.4,
    "seen": 1234.5,
    "score": 0.971,
    "priority": 40,
    "weight": 100,
    "matched": 2,
    "own": False,
    "implicit": False,
}
DOWN = {
    **CANDIDATE,
    "route": "twilio",
    "kind": "adapter",
    "provider": "twilio",
    "why": "down",
    "up": False,
    "trouble": "its health checks fail",
    "price": None,
    "currency": None,
    "seen": 0,
}
EXPLAINED = {
    "strategy": "least-cost",
    "chosen": "dk",
    "candidates": [CANDIDATE, DOWN],
    "left_out": [{"route": "se", "kind": "carrier", "provider": "tdc", "why": "other_destination"}],
}


@pytest.fixture
def hermes(api, run, in_empty_directory, monkeypatch):
    """Runs a command that has to succeed, against the API; its output."""
    monkeypatch.setenv("HERMES_API_URL", api.url)
    monkeypatch.setenv("HERMES_ADMIN__KEY", "an-operators-key-of-32-characters")

    def hermes(*arguments):
        result = run(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    return hermes


# arguments, method, path with its query, body
ASKED = {
    "list": (["list"], "GET", "/admin/v1/routes", None),
    "show": (["show", "dk"], "GET", "/admin/v1/routes/dk", None),
    "add": (
        ["add", "dk", "provider=telia", "prefixes=+45,46", "priority=40", "tenants=acme"],
        "POST",
        "/admin/v1/routes",
        {
            "name": "dk",
            "channel": "sms",
            "provider": "telia",
            "prefixes": ["45", "46"],
            "priority": 40,
            "tenants": ["acme"],
        },
    ),
    "set": (
        ["set", "dk", "weight=7", "countries=null", "enabled=false", "--force"],
        "PATCH",
        "/admin/v1/routes/dk?force=true",
        {"weight": 7, "countries": None, "enabled": False},
    ),
    "enable": (["enable", "dk"], "PATCH", "/admin/v1/routes/dk", {"enabled": None}),
    "disable": (["disable", "dk"], "PATCH", "/admin/v1/routes/dk", {"enabled": False}),
    "remove": (["remove", "dk", "--yes"], "DELETE", "/admin/v1/routes/dk", None),
    "explain": (
        ["explain", "--to", "+4520123456", "--tenant", "acme", "--category", "otp"],
        "POST",
        "/admin/v1/routes/explain",
        {"to": "+4520123456", "tenant": "acme", "channel": "sms", "category": "otp"},
    ),
}


@pytest.mark.parametrize(("arguments", "method", "path", "body"), ASKED.values(), ids=ASKED)
def test_what_is_asked(hermes, api, arguments, method, path, body):
    bare = path.partition("?")[0]
    answer = {"list": {"routes": [ROUTE]}, "explain": EXPLAINED}.get(arguments[0], ROUTE)
    api.answer(method, bare, 200, answer)
    assert json.loads(hermes("routes", *arguments, "--json")) == answer
    [(said, where, headers, sent)] = api.requests
    assert (said, where, sent) == (method, path, body)
    assert headers["Authorization"] == "Bearer an-operators-key-of-32-characters"


def test_routes_as_a_person_reads_them(hermes, api):
    off = {**ROUTE, "name": "off", "enabled": False, "prefixes": [], "categories": []}
    many = {**ROUTE, "name": "many", "prefixes": [str(n) for n in range(10, 30)], "tenants": []}
    own = {**ROUTE, "name": "relay", "channel": "email", "kind": "own", "provider": ""}
    api.answer("GET", "/admin/v1/routes", 200, {"routes": [ROUTE, off, many, own]})
    lines = hermes("routes", "list").splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "route channel provider priority weight for",
        "dk sms telia 40 100 +45; otp; tenant acme, globex",
        "off sms telia 40 100 disabled; tenant acme, globex",
        "many sms telia 40 100 +10, +11, +12, +13 and 16 more; otp",
        "relay email Hermes itself 40 100 +45; otp; tenant acme, globex",
    ]


SIMULATOR = {
    **ROUTE,
    "name": "dk-sim",
    "provider": "simulator",
    "categories": [],
    "tenants": [],
}
REST = {**SIMULATOR, "name": "rest", "prefixes": []}
SWEDEN = {**SIMULATOR, "name": "se-sim", "prefixes": ["46"]}


@pytest.mark.parametrize(
    ("others", "warning"),
    [
        ([], "! simulator now carries only +45; no other sms goes by it."),
        ([SWEDEN], "! simulator now carries only +45 / +46; no other sms goes by it."),
        ([{**SWEDEN, "enabled": False}], "! simulator now carries only +45;"),
        ([{**REST, "provider": "tdc"}], "! simulator now carries only +45;"),
        ([REST], None),
    ],
)
def test_what_a_provider_no_longer_carries_is_said(hermes, api, run, others, warning):
    api.answer("POST", "/admin/v1/routes", 201, SIMULATOR)
    api.answer("GET", "/admin/v1/routes", 200, {"routes": [SIMULATOR, *others]})
    said = run("routes", "add", "dk-sim", "provider=simulator", "prefixes=45").stderr
    assert (warning in " ".join(said.split())) if warning else (said == "")


def test_a_disabled_route_may_have_been_a_providers_last(hermes, api, run):
    off = {**SIMULATOR, "enabled": False}
    api.answer("PATCH", "/admin/v1/routes/dk-sim", 200, off)
    api.answer("GET", "/admin/v1/routes", 200, {"routes": [off]})
    assert "! simulator now carries no sms at all." in run("routes", "disable", "dk-sim").stderr


def test_a_change_of_weight_takes_nothing_away(hermes, api, run):
    api.answer("PATCH", "/admin/v1/routes/dk-sim", 200, SIMULATOR)
    assert run("routes", "set", "dk-sim", "weight=7").stderr == ""
    assert len(api.requests) == 1


def test_no_routes(hermes, api):
    api.answer("GET", "/admin/v1/routes", 200, {"routes": []})
    assert "each carrier and adapter is one by itself" in hermes("routes", "list")


def test_the_explanation_as_a_person_reads_it(hermes, api):
    api.answer("POST", "/admin/v1/routes/explain", 200, EXPLAINED)
    said = hermes("route", "explain", "--to", "+4520123456", "--tenant", "acme")
    assert [" ".join(line.split()) for line in said.splitlines() if line.strip()] == [
        "sms to +4520123456 for acme → dk by least-cost",
        "route provider state price delivered score why",
        "1 dk telia up 0.01 EUR 97.5% in 2.4 s 0.971 cheapest",
        "2 twilio adapter twilio its health checks fail none not known 0.971 down",
        "left out provider why",
        "se tdc for other destinations",
    ]


def test_nothing_leads_there(hermes, api):
    nothing = {**EXPLAINED, "chosen": None, "candidates": []}
    api.answer("POST", "/admin/v1/routes/explain", 200, nothing)
    said = hermes("route", "explain", "--to", "+4520123456", "--tenant", "acme")
    assert "no route" in said.splitlines()[0]


def test_who_needs_a_route_is_named(hermes, api, run):
    problem = {
        "code": "route_needed",
        "status": 409,
        "title": "Route needed",
        "detail": "No route would be left to: acme (sms).",
    }
    api.answer("DELETE", "/admin/v1/routes/dk", 409, problem)
    result = run("routes", "remove", "dk", "--yes")
    assert result.exit_code == 1
    assert "acme (sms)" in result.output


def test_every_reason_has_words():
    from domain.routing.choice import Why
    from domain.routing.table import LeftOut
    from infra.cli import route_words

    assert {why.value for why in Why} == set(route_words.WHYS)
    assert {why.value for why in LeftOut} == set(route_words.LEFT_OUT)
