"""Reports, checks and trials."""

import json
from dataclasses import replace

import msgspec
import pytest

from adapters.wasm import reference
from adapters.wasm.contract import MAX_REPORTS, HttpResponse, Report, Reported, Webhook
from adapters.wasm.runtime import AdapterFailed
from domain.message import Level
from tests.unit.wasm.host.conftest import KEY, PATIENT
from tests.unit.wasm.puppet import GET, script

MESSAGE = "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV"
SEEN = {"id": "e1", "level": "delivered", "final": True, "provider_status": "delivered"}


def webhook(body: str, **query: str) -> Webhook:
    return Webhook("POST", query, "application/json", body)


WHO = script(
    '{"done": {"reports": [{"id": $TEXT, "level": "sent", "final": false}]}}',
    host=[["config", "health"]],
)
"""Its report has the configuration of the version that read it."""


async def test_what_a_body_says(stage):
    stage.install()
    told = await stage.host.report("acme", "puppet", webhook(script({"done": {"reports": [SEEN]}})))
    assert told == Reported(
        (Report(id="e1", level=Level.DELIVERED, final=True, provider_status="delivered"),)
    )


REFUSED = [
    {"reports": [{"level": "sent", "final": True}]},
    {"reports": [{"id": "1", "final": True}]},
    {"reports": [{"id": "1", "level": "sent", "failure": {"code": "internal"}, "final": True}]},
    {"reports": [{"id": "1", "level": "sent", "final": True, "at": "2026-01-01T00:00:00"}]},
    {"inbound": [{"id": "1", "from": "+45", "to": "+46"}]},
    {"reports": {}},
    [],
]


@pytest.mark.parametrize("done", REFUSED)
async def test_what_is_no_report_is_refused(stage, done):
    stage.install()
    with pytest.raises(AdapterFailed) as failed:
        await stage.host.report("acme", "puppet", webhook(script({"done": done})))
    assert failed.value.kind == "malformed"


@pytest.mark.parametrize("over", [0, 1])
async def test_the_most_reports_of_one_body(stage, over):
    stage.install(limits=msgspec.structs.replace(PATIENT, fuel=2_000_000_000))
    report = {"id": "1", "level": "sent", "final": True}
    # As a text the guest need not make it.
    said = json.dumps({"done": {"reports": [report] * (MAX_REPORTS + over)}})
    told = stage.host.report("acme", "puppet", webhook(script(said)))
    if over:
        with pytest.raises(AdapterFailed, match="malformed"):
            await told
    else:
        assert len((await told).reports) == MAX_REPORTS


async def test_a_tenant_without_the_adapter(stage):
    stage.install()
    with pytest.raises(AdapterFailed, match="no active adapter"):
        await stage.host.report("another", "puppet", webhook(""))


async def _reader(stage, **query: str) -> str:
    told = await stage.host.report("acme", "puppet", webhook(WHO, **query))
    return told.reports[0].id


async def test_a_report_is_read_by_the_version_that_made_the_attempt(stage):
    first = stage.install(health="first")
    stage.tenants.activate(replace(first, version="b" * 64, values={"health": "second"}))
    refs = {v: reference.mint(KEY, "acme", "puppet", MESSAGE, 1, v * 64) for v in "abc"}
    assert await _reader(stage) == '["second"]'
    assert await _reader(stage, ref=refs["a"]) == '["first"]'
    assert await _reader(stage, ref=refs["b"]) == '["second"]'
    # One that is not kept any more, and what is no reference of ours.
    assert await _reader(stage, ref=refs["c"]) == '["second"]'
    assert await _reader(stage, ref="1.forged") == '["second"]'
    # Both stay in use side by side.
    assert await _reader(stage, ref=refs["a"]) == '["first"]'


async def test_a_check_that_is_well(stage):
    health = await stage.host.check(stage.install())
    assert (health.ok, health.sick, health.failures) == (True, False, 0)


ILL = [
    (script({"done": {"ok": False, "detail": "bad password"}}), "bad password"),
    (script(do="loop"), "fuel"),
    (script("nonsense"), "malformed"),
]


@pytest.mark.parametrize(("does", "words"), ILL)
async def test_a_check_that_is_not(stage, does, words):
    health = await stage.host.check(stage.install(health=does))
    assert not health.ok
    assert words in health.detail


async def test_sick_after_three_failures_and_well_after_one_success(stage):
    installed = stage.install(health=script(GET, '{"done": {"ok": false, "detail": "down"}}'))
    stage.answer(HttpResponse(503))
    checks = [await stage.host.check(installed) for _ in range(3)]
    assert [(each.failures, each.sick) for each in checks] == [(1, False), (2, False), (3, True)]
    well = stage.configure(installed)
    health = await stage.host.check(well)
    assert (health.ok, health.sick, health.failures) == (True, False, 0)


async def test_a_trial_of_a_configuration(stage):
    installed = stage.install()
    await stage.host.configure(installed)
    refused = replace(installed, values={"refuse": "no such account"}, revision=2)
    with pytest.raises(AdapterFailed, match="no such account"):
        await stage.host.configure(refused)
