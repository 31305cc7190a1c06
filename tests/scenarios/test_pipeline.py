"""A message through all layers of a running API, and what of them its client and timeline see."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from infra.local.stack import COMPONENTS
from tests.scenarios.driver import Driver, entries, number, sms
from tests.waiting import until

LAYERS = ["auth", "tenant", "schema", "content", "compliance", "dnc", "rate", "dedup", "enrich"]
STOP = {"text": "Sale today. Reply STOP to opt out."}


def verdicts(message):
    return {entry["verdict"]["layer"]: entry["verdict"] for entry in entries(message, "verdict")}


def where_it_is(day: bool) -> str:
    """A time zone in which it is noon or so, or midnight."""
    zones = [f"Etc/GMT{hours:+}" for hours in range(-12, 13)]
    wanted = range(11, 14) if day else (23, 0, 1)
    return next(
        zone for zone in zones if datetime.now(UTC).astimezone(ZoneInfo(zone)).hour in wanted
    )


def refused(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == code
    return [(error["code"], error["pointer"]) for error in answer.json().get("errors", [])]


def test_every_layer_has_its_line_in_the_timeline(hermes):
    message = hermes.ended(hermes.send(sms(), to_sms=number()))
    assert list(verdicts(message)) == LAYERS
    assert {verdict["outcome"] for verdict in verdicts(message).values()} == {"pass"}
    assert message["recipient"]["country"] == "DK"


def test_a_batch_says_of_each_message_which_layer_refused_it(hermes):
    good = hermes.order(sms(), to_sms=number())
    unfilled = good | {"content": {"text": "Hi {{name}}"}}
    abroad = hermes.order(sms(sender="Acme"), to_sms="+12125550123")
    answer = hermes.request(
        "POST", "/v1/messages/batch", json={"messages": [good, unfilled, abroad, {"to": {}}]}
    )
    body = answer.json()
    assert (answer.status_code, body["accepted"], body["refused"]) == (202, 1, 3)
    codes = [result.get("problem", {}).get("code") for result in body["results"]]
    assert codes == [None, "content_refused", "compliance_refused", "validation_failed"]
    assert body["results"][1]["problem"]["errors"][0]["pointer"] == "/content/text"
    hermes.ended(body["results"][0]["message"]["id"])


def test_marketing_waits_for_the_recipients_morning(hermes):
    night = {"recipient": {"time_zone": where_it_is(day=False)}}
    day = {"recipient": {"time_zone": where_it_is(day=True)}}
    order = hermes.order(sms(), to_sms=number()) | {"category": "marketing", "content": STOP}
    order["ttl"] = 86_400
    sent = hermes.request("POST", "/v1/messages", json=order | day).json()
    assert (sent["status"], sent["verdicts"]) == ("processing", [])
    assert hermes.ended(sent["id"])["status"] == "delivered"

    put_off = hermes.request("POST", "/v1/messages", json=order | night).json()
    assert put_off["status"] == "scheduled"
    (verdict,) = put_off["verdicts"]
    assert (verdict["layer"], verdict["outcome"], verdict["code"]) == (
        "compliance",
        "defer",
        "quiet_hours",
    )
    begins = datetime.fromisoformat(put_off["send_at"])
    assert begins.astimezone(ZoneInfo(night["recipient"]["time_zone"])).hour == 8
    message = hermes.until_event(put_off["id"], "scheduled")
    assert message["status"] == "scheduled"
    assert hermes.request("DELETE", f"/v1/messages/{put_off['id']}").status_code == 202
    assert hermes.ended(put_off["id"])["status"] == "canceled"

    short = hermes.request("POST", "/v1/messages", json=order | night | {"ttl": 3600})
    assert refused(short, 422, "compliance_refused") == [("quiet_hours_outlast_ttl", "/ttl")]


def test_the_same_content_twice_names_the_first_message(hermes):
    text = {"content": {"text": f"Code {os.urandom(4).hex()}"}, "dedup": {"window": 60}}
    order = hermes.order(sms(), to_sms=number()) | text
    first = hermes.request("POST", "/v1/messages", json=order).json()["id"]
    again = hermes.request("POST", "/v1/messages", json=order)
    refused(again, 409, "duplicate_content")
    assert again.json()["message"] == first
    hermes.ended(first)


@pytest.fixture(scope="module")
def with_register(tmp_path_factory):
    """A stack with the simulated providers, whose register knows every number's network."""
    driver = Driver(tmp_path_factory.mktemp("register"), components=COMPONENTS)
    try:
        yield driver.start()
    finally:
        driver.close()


def test_the_second_message_to_a_number_knows_its_network(with_register):
    hermes, to = with_register, number()

    def operator():
        message = hermes.ended(hermes.send(sms(), to_sms=to))
        return message["recipient"].get("operator")

    first = operator()
    assert first is None
    assert until(operator) == "23801"
