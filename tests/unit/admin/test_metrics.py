"""What Prometheus reads, and the operator's other looks."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from adapters.smpp.carriers.carrier import CarrierHealth, CarrierState, ConnectionHealth
from adapters.smpp.flow.backlog import Queue
from adapters.smpp.flow.pressure import PoolReport
from adapters.smpp.protocol.constants import EsmClass
from adapters.smpp.protocol.pdu import DeliverSm
from adapters.telemetry.carriers import MOST_TENANTS, OTHERS, CarrierCollector, PoolGauges
from adapters.telemetry.exposition import Metrics
from domain.delivery import DeliveryRequest
from domain.message import Category, Content
from tests.waiting import eventually


def samples(text):
    """Every sample, by its name and the values of its labels, which come in alphabetical order."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def health(name="telia", **facts):
    return CarrierHealth(
        **{
            "name": name,
            "state": CarrierState.UP,
            "rate": 90.5,
            "configured_rate": 100.0,
            "accepted_per_second": 80,
            "queued": 3,
            "submitted": 21,
            "accepted": 10,
            "refused": 4,
            "throttled": 5,
            "unknown": 2,
            "receipts": 9,
            "last_error": None,
            "last_refusal": None,
            "restarts": 6,
            "connections": (
                ConnectionHealth(f"{name}/1", "smsc:2775", True, 1.0, 7, 4, 50, None),
                ConnectionHealth(f"{name}/2", "smsc:2775", False, None, 7, 0, 50, "link closed"),
            ),
            **facts,
        }
    )


def read(*carriers, queues=(), unmatched=0):
    gauges = PoolGauges(
        carriers=lambda: carriers,
        queues=lambda: queues,
        unmatched=lambda: unmatched,
        lag=lambda: 0.25,
    )
    body, _ = Metrics(CarrierCollector(gauges)).expose("")
    return samples(body.decode())


def test_a_carriers_health_in_metrics():
    found = read(health(), unmatched=8, queues=[Queue("acme", Category.OTP, 12, 3.0)])
    assert {key: value for key, value in found.items() if key[0].startswith("hermes_")} == {
        ("hermes_smpp_carrier_up", "telia"): 1,
        ("hermes_smpp_carrier_down", "telia"): 0,
        ("hermes_smpp_rate_limit", "telia"): 90.5,
        ("hermes_smpp_rate_configured", "telia"): 100,
        ("hermes_smpp_waiting", "telia"): 3,
        ("hermes_smpp_submits_total", "telia", "accepted"): 10,
        ("hermes_smpp_submits_total", "telia", "refused"): 4,
        ("hermes_smpp_submits_total", "telia", "throttled"): 5,
        ("hermes_smpp_submits_total", "telia", "unknown"): 2,
        ("hermes_smpp_receipts_total", "telia"): 9,
        ("hermes_smpp_restarts_total", "telia"): 6,
        ("hermes_smpp_bind_up", "telia", "1"): 1,
        ("hermes_smpp_bind_up", "telia", "2"): 0,
        ("hermes_smpp_in_flight", "telia", "1"): 4,
        ("hermes_smpp_in_flight", "telia", "2"): 0,
        ("hermes_smpp_window", "telia", "1"): 50,
        ("hermes_smpp_window", "telia", "2"): 50,
        ("hermes_smpp_queue", "otp", "acme"): 12,
        ("hermes_smpp_receipts_unmatched",): 8,
        ("hermes_smpp_lag_seconds",): 0.25,
    }


def test_the_alert_is_for_failing_binds_and_not_for_what_an_operator_did():
    found = read(
        health("failing", state=CarrierState.DOWN), health("taken-out", state=CarrierState.DRAINED)
    )
    assert found["hermes_smpp_carrier_down", "failing"] == 1
    assert found["hermes_smpp_carrier_down", "taken-out"] == 0
    assert found["hermes_smpp_carrier_up", "taken-out"] == 0


def test_a_carrier_without_a_limit_has_no_rate():
    found = read(health(rate=None, configured_rate=None))
    assert not any(name.startswith("hermes_smpp_rate") for name, *_ in found)


def test_the_smallest_tenants_are_one_when_there_are_many():
    queues = [
        Queue(f"tenant-{number}", category, number, None)
        for number in range(1, MOST_TENANTS + 51)
        for category in (Category.OTP, Category.MARKETING)
    ]
    found = read(queues=queues)
    tenants = {key[2] for key in found if key[0] == "hermes_smpp_queue"}
    assert len(tenants) == MOST_TENANTS + 1
    assert found["hermes_smpp_queue", "otp", OTHERS] == sum(range(1, 51))
    assert found["hermes_smpp_queue", "otp", "tenant-150"] == 150


async def test_metrics_of_a_pool_that_runs(world):
    answer = await world.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = samples(answer.text)
    assert found["hermes_smpp_bind_up", "one", "1"] == 1
    assert found["process_cpu_seconds_total",] > 0


async def test_openmetrics_for_whoever_prefers_it(world):
    answer = await world.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


async def test_what_was_delivered_is_counted(world):
    request = DeliveryRequest(
        message="msg_1",
        attempt=1,
        tenant="acme",
        to="+4520100000",
        content=Content("Hello"),
        receipt_ref="ref",
        not_after=datetime.now(UTC) + timedelta(minutes=1),
    )
    await world.pool.deliver(request)

    async def received():
        return samples((await world.get("/metrics")).text)["hermes_smpp_receipts_total", "one"]

    assert await eventually(received) == 1
    found = samples((await world.get("/metrics")).text)
    assert found["hermes_smpp_submits_total", "one", "accepted"] == 1


class Session:
    """Where a receipt came from; counts what it is answered."""

    acknowledged = 0

    def acknowledge(self, *answer):
        self.acknowledged += 1


async def test_receipts_that_fit_nothing_are_counted_and_the_newest_shown(world):
    session = Session()
    for number in range(60):
        text = f"id:{number} sub:001 dlvrd:001 stat:DELIVRD err:000 text:Hello"
        receipt = DeliverSm(
            source_addr="4520100000",
            destination_addr="Hermes",
            esm_class=EsmClass.DELIVERY_RECEIPT,
            short_message=text.encode(),
        )
        world.correlator.on_receipt("one", session, number, receipt)
    await eventually(lambda: world.correlator.unmatched == 60)
    assert session.acknowledged == 60
    answer = (await world.get("receipts/unmatched")).json()
    assert answer["count"] == 60
    assert [one["smsc_id"] for one in answer["newest"]] == [str(n) for n in range(59, 9, -1)]
    assert answer["newest"][0]["stat"] == "DELIVRD"
    assert samples((await world.get("/metrics")).text)["hermes_smpp_receipts_unmatched",] == 60


async def test_queues_are_told_as_the_api_asks_for_them(world, start, account):
    report = msgspec.json.decode((await world.get("queues")).content, type=PoolReport)
    assert (report.lag_s, report.arrived, report.queues) == (0.0, {}, [])
    other = await start(account("one"))
    another = msgspec.json.decode((await other.get("queues")).content, type=PoolReport)
    assert another.boot != report.boot


async def test_a_queue_is_told_by_tenant_and_category(start, account, smsc):
    world = await start(account("slow", rate=1, binds=1))
    await world.until(slow="up")
    requests = [
        DeliveryRequest(
            message=f"msg_{number}",
            attempt=1,
            tenant="acme",
            to="+4520100000",
            content=Content("Hello"),
            receipt_ref="ref",
            not_after=datetime.now(UTC) + timedelta(minutes=1),
            since=datetime.now(UTC),
        )
        for number in range(5)
    ]
    tasks = [asyncio.create_task(world.pool.deliver(each)) for each in requests]
    await eventually(world.pool.queues)
    report = msgspec.json.decode((await world.get("queues")).content, type=PoolReport)
    [queue] = report.queues
    assert (queue.tenant, queue.category) == ("acme", Category.TRANSACTIONAL)
    assert queue.waiting >= 3
    assert report.arrived == {"acme": 5}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
