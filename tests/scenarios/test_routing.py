"""Routes through the whole stack: said by an operator, obeyed by the next message, explained."""

import pytest

from adapters.store.change import looking
from infra.operator_key import key_file
from infra.settings import Settings
from tests.scenarios.driver import entry, number, sms, statuses
from tests.waiting import known_everywhere, until

# Countries that no other test fails to reach: what is delivered counts for the choice.
NORWEGIAN = "+4741234567"
SWEDISH = "+46701234567"
FINNISH = "+358401234567"
UNDELIVERED = "+358401239903"


class Operator:
    """The admin APIs of the stack: the API's, and the bind pool's."""

    def __init__(self, hermes):
        self._hermes = hermes
        settings = Settings(data_dir=hermes.stack.data_dir)
        self._key = key_file(settings).read_text().strip()

    def ask(self, method, path, json=None, *, port="api"):
        return self._hermes.http.request(
            method,
            f"http://127.0.0.1:{getattr(self._hermes.ports, port)}/admin/v1/{path}",
            headers={"authorization": f"Bearer {self._key}"},
            json=json,
        )

    def __call__(self, method, path, json=None, *, port="api"):
        answer = self.ask(method, path, json, port=port)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def explain(self, to, **more):
        return self("POST", "routes/explain", {"to": to, "tenant": "acme", **more})

    def wait_chosen(self, route, to, within=2.0):
        """A change is in use everywhere within a second."""
        until(lambda: self.explain(to)["chosen"] == route, within)


@pytest.fixture
def operator(hermes):
    """The operator of a stack with a second carrier; afterwards there is one, and no route."""
    operator = Operator(hermes)
    account = {
        "name": "second",
        "hosts": [f"127.0.0.1:{hermes.ports.smsc}"],
        "tls": False,
        "system_id": "second",
        "password": "second",
    }
    operator("POST", "carriers", account, port="pool")

    def up():
        carriers = operator("GET", "carriers", port="pool")["carriers"]
        return {c["name"]: c["state"] for c in carriers}.get("second") == "up"

    until(up)
    # The API asks the pools four times a second.
    until(lambda: len(operator.explain(number())["candidates"]) == 2)
    yield operator
    for route in operator("GET", "routes")["routes"]:
        operator("DELETE", f"routes/{route['name']}?force=true")
    until(lambda: not operator.explain(number())["left_out"])
    # The API's own look at the routes may come half a second after the pool's.
    body = hermes.order(sms(), to_sms=SWEDISH)
    until(lambda: hermes.request("POST", "/v1/messages", json=body).status_code == 202)
    operator("DELETE", "carriers/second", port="pool")


def carried(hermes, to, **more):
    """Send one message, and see it through: by which carrier it went, and its route."""
    message = hermes.ended(hermes.send(sms(), to_sms=to, **more))
    taken = entry(message, "submitted")
    return taken["provider"], taken.get("route")


def test_a_route_is_obeyed_within_a_second_and_told_in_the_timeline(hermes, operator):
    assert carried(hermes, NORWEGIAN)[0] == "simulator"
    operator(
        "POST",
        "routes",
        {
            "name": "norwegian",
            "channel": "sms",
            "provider": "second",
            "prefixes": ["47"],
            "priority": 40,
        },
    )
    operator.wait_chosen("norwegian", NORWEGIAN)
    known_everywhere()
    provider, route = carried(hermes, NORWEGIAN)
    assert provider == "second"
    assert (route["route"], route["why"], route["strategy"]) == (
        "norwegian",
        "priority",
        "least-cost",
    )
    assert [(c["route"], c["why"]) for c in route["candidates"]] == [
        ("norwegian", "priority"),
        ("simulator", "lower_priority"),
    ]
    assert carried(hermes, SWEDISH)[0] == "simulator"


def test_what_if_tells_what_then_happens(hermes, operator):
    operator(
        "POST",
        "routes",
        {"name": "globex-own", "channel": "sms", "provider": "second", "tenants": ["globex"]},
    )
    operator(
        "POST",
        "routes",
        {"name": "otps", "channel": "sms", "provider": "simulator", "categories": ["otp"]},
    )
    operator.wait_chosen(None, number())
    explained = operator.explain(number())
    assert {(one["route"], one["why"]) for one in explained["left_out"]} == {
        ("globex-own", "other_tenant"),
        ("otps", "other_category"),
    }
    body = hermes.order(sms(), to_sms=number())

    def refused():
        answer = hermes.request("POST", "/v1/messages", json=body)
        return answer.status_code == 422 and answer.json()["errors"][0]["code"] == "no_route"

    until(refused, within=2)
    assert operator.explain(number(), category="otp")["chosen"] == "otps"
    assert carried(hermes, number(), category="otp")[0] == "simulator"


def test_the_last_route_of_who_sends_is_needed(hermes, operator):
    carried(hermes, NORWEGIAN)
    for name in ("simulator", "second"):
        route = {"name": name, "channel": "sms", "provider": name}
        operator("POST", "routes", route)
    operator("PATCH", "routes/second", {"enabled": False})
    answer = operator.ask("PATCH", "routes/simulator", {"enabled": False})
    assert (answer.status_code, answer.json()["code"]) == (409, "route_needed")
    assert "acme (sms)" in answer.json()["detail"]
    known_everywhere()
    assert carried(hermes, NORWEGIAN)[0] == "simulator"


def test_a_carrier_that_delivers_nothing_is_left_and_a_killed_pool_remembers(hermes, operator):
    # By name: the other carrier would take over before the last of them, and fail, too.
    orders = [hermes.order(sms(provider="simulator"), to_sms=UNDELIVERED) for _ in range(60)]
    ended = hermes.all_ended(hermes.send_all(orders))
    assert statuses(ended) == {"failed": 60}
    operator.wait_chosen("second", FINNISH, within=5)
    provider, choice = carried(hermes, FINNISH)
    assert (provider, choice["why"]) == ("second", "sound")
    assert choice["candidates"][1]["why"] == "poor"
    # Other countries have nothing against it.
    assert carried(hermes, SWEDISH)[0] == "simulator"

    def exchanged():
        with looking(hermes.stack.data_dir / "hermes.db") as database:
            counted = "SELECT sum(failed) FROM route_quality WHERE country = '358'"
            return (database.execute(counted).fetchone()[0] or 0) >= 60

    until(exchanged, within=15)
    hermes.kill("pool")
    hermes.stack.wait_ready("pool")
    until(lambda: operator.explain(FINNISH)["chosen"] == "second", within=15)
    assert carried(hermes, FINNISH)[0] == "second"
