"""Carriers that are added, drained and removed while messages are on their way."""

import pytest

from infra.operator_key import key_file
from infra.settings import Settings
from tests.scenarios.driver import entry, number, sms, statuses
from tests.waiting import until


class Operator:
    """The admin API of the stack's bind pool."""

    def __init__(self, hermes):
        self._hermes = hermes
        settings = Settings(data_dir=hermes.stack.data_dir)
        self._key = key_file(settings).read_text().strip()

    def __call__(self, method, path, json=None):
        answer = self._hermes.http.request(
            method,
            f"http://127.0.0.1:{self._hermes.ports.pool}/admin/v1/{path}",
            headers={"authorization": f"Bearer {self._key}"},
            json=json,
        )
        assert answer.status_code < 300, answer.text
        return answer.json()

    def state(self, name):
        states = {c["name"]: c["state"] for c in self("GET", "carriers")["carriers"]}
        return states.get(name)

    def wait_up(self, name):
        until(lambda: self.state(name) == "up")


@pytest.fixture
def operator(hermes):
    """The operator; afterwards the carriers are those of the settings, bound."""
    operator = Operator(hermes)
    yield operator
    if operator.state("simulator") != "up":
        operator("POST", "carriers/simulator/resume")
        operator.wait_up("simulator")
    if operator.state("second") is not None:
        operator("DELETE", "carriers/second")


@pytest.fixture
def second(hermes, operator):
    """A second account, added at run time and bound."""
    account = {
        "name": "second",
        "hosts": [f"127.0.0.1:{hermes.ports.smsc}"],
        "tls": False,
        "system_id": "second",
        "password": "second",
        "binds": 2,
    }
    operator("POST", "carriers", account)
    operator.wait_up("second")
    return "second"


def provider(message):
    return entry(message, "submitted")["provider"]


def test_traffic_moves_to_another_carrier_when_one_is_drained_and_back(hermes, operator, second):
    first = hermes.ended(hermes.send(sms(), to_sms=number()))
    assert (first["status"], provider(first)) == ("delivered", "simulator")

    operator("POST", "carriers/simulator/drain")
    moved = hermes.ended(hermes.send(sms(), to_sms=number()))
    assert (moved["status"], provider(moved)) == ("delivered", second)

    operator("POST", "carriers/simulator/resume")
    operator.wait_up("simulator")
    back = hermes.ended(hermes.send(sms(), to_sms=number()))
    assert (back["status"], provider(back)) == ("delivered", "simulator")


def test_no_message_is_lost_when_a_carrier_is_taken_out_under_load(hermes, operator, second):
    ids = hermes.send_all(hermes.order(sms(), to_sms=number()) for _ in range(200))
    until(lambda: hermes.received() >= 20)
    operator("POST", "carriers/simulator/suspend")
    # However fast it was with the first ones, these come when it is out.
    ids += hermes.send_all(hermes.order(sms(), to_sms=number()) for _ in range(200))
    # Its receipts still come; what it had not been given goes to the other one.
    messages = hermes.all_ended(ids)
    assert statuses(messages) == {"delivered": 400}
    assert {provider(message) for message in messages} == {"simulator", second}
    assert len(hermes.submits()) == 400
    operator("DELETE", "carriers/simulator")
    assert operator.state("simulator") == "removed"


def test_what_was_changed_survives_the_pool(hermes, operator, second):
    operator("PATCH", f"carriers/{second}", {"window": 7})
    operator("POST", "carriers/simulator/suspend")
    hermes.kill("pool")
    hermes.stack.wait_ready("pool")
    operator.wait_up(second)
    assert operator.state("simulator") == "suspended"
    assert operator("GET", f"carriers/{second}")["configuration"]["window"] == 7
    message = hermes.ended(hermes.send(sms(), to_sms=number()))
    assert (message["status"], provider(message)) == ("delivered", second)


def test_receipts_come_while_a_carrier_is_suspended(hermes, operator):
    message_id = hermes.send(sms(), to_sms=number("9901"))
    hermes.until_event(message_id, "submitted")
    operator("POST", "carriers/simulator/suspend")
    assert hermes.ended(message_id)["status"] == "delivered"
