"""What an operator does to carriers that run, and what is left of it afterwards."""

import asyncio
import sqlite3

import pytest

from tests.unit.admin.conftest import PASSWORD
from tests.waiting import eventually


async def test_a_carrier_is_listed_with_its_health_and_its_configuration(world):
    [carrier] = (await world.get("carriers")).json()["carriers"]
    assert carrier == (await world.get("carriers/one")).json()
    assert (carrier["name"], carrier["state"], carrier["origin"]) == ("one", "up", "file")
    assert carrier["changes"] == {}
    assert carrier["configuration"]["window"] == 50
    [connection] = carrier["health"]["connections"]
    assert (connection["bound"], connection["window"]) == (True, 50)


async def test_a_carrier_that_is_added_binds_and_is_listed_after_the_others(world, account):
    answer = await world.post("carriers", account("two", binds=2))
    assert answer.status_code == 201
    assert answer.json()["origin"] == "added"
    await world.until(two="up")
    assert list(await world.states()) == ["one", "two"]


async def test_a_name_is_taken_once(world, account):
    answer = await world.post("carriers", account("one"))
    assert (answer.status_code, answer.json()["code"]) == (409, "carrier_exists")


async def test_window_and_rate_change_without_a_new_bind(world, smsc):
    binds = smsc.counters.binds
    answer = await world.patch("carriers/one", {"window": 7, "rate": 20.5})
    assert answer.status_code == 200
    carrier = answer.json()
    assert carrier["changes"] == {"window": 7, "rate": 20.5}
    assert carrier["origin"] == "file, changed"
    assert carrier["health"]["connections"][0]["window"] == 7
    assert carrier["health"]["rate"] == 20.5
    assert smsc.counters.binds == binds


async def test_null_is_back_to_the_default(world):
    await world.patch("carriers/one", {"rate": 20, "window": 7})
    carrier = (await world.patch("carriers/one", {"rate": None})).json()
    assert carrier["configuration"]["rate"] is None
    assert carrier["changes"] == {"window": 7}


async def test_a_table_is_changed_in_part(world):
    await world.patch("carriers/one", {"ids": {"response": "hex", "receipt": "decimal"}})
    carrier = (await world.patch("carriers/one", {"ids": {"response": "decimal"}})).json()
    assert carrier["configuration"]["ids"] == {"response": "decimal", "receipt": "decimal"}


async def test_more_binds_and_fewer(world):
    await world.patch("carriers/one", {"binds": 3})
    await eventually(lambda: sum(c.bound for c in health(world).connections) == 3)
    await world.patch("carriers/one", {"binds": 1})
    await eventually(lambda: len(health(world).connections) == 1)


def health(world, name="one"):
    return world.operations.get(name).health


async def test_suspended_keeps_its_binds_drained_does_not_and_resumed_has_them_again(world, smsc):
    assert (await world.post("carriers/one/suspend")).json()["state"] == "suspended"
    assert world.pool.mesh.get("one").bound
    assert (await world.post("carriers/one/drain")).json()["state"] == "drained"
    await eventually(lambda: not smsc.stats()["bound"])
    assert (await world.post("carriers/one/resume")).status_code == 200
    await world.until(one="up")


async def test_a_removed_carrier_is_gone(world, account):
    await world.post("carriers", account("two"))
    answer = await world.delete("carriers/two")
    assert (answer.status_code, answer.json()) == (200, {"name": "two", "state": "removed"})
    assert list(await world.states()) == ["one"]
    assert (await world.get("carriers/two")).json()["code"] == "carrier_not_found"
    assert (await world.post("carriers", account("two"))).status_code == 201


async def test_a_carrier_of_the_file_stays_removed_until_it_is_resumed(world, start, account):
    await world.delete("carriers/one")
    assert await world.states() == {"one": "removed"}
    await start.stop(world)
    again = await start(account("one"))
    assert await again.states() == {"one": "removed"}
    assert (await again.patch("carriers/one", {"window": 3})).status_code == 404
    await again.post("carriers/one/resume")
    await again.until(one="up")


async def test_a_carrier_of_the_file_may_be_added_anew_after_it_was_removed(world, account):
    await world.delete("carriers/one")
    assert (await world.post("carriers", account("one", window=3))).status_code == 201
    await world.until(one="up")
    assert world.operations.get("one").configuration["window"] == 3


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "carriers/nobody"),
        ("PATCH", "carriers/nobody"),
        ("DELETE", "carriers/nobody"),
        ("POST", "carriers/nobody/suspend"),
        ("POST", "carriers/nobody/drain"),
        ("POST", "carriers/nobody/resume"),
    ],
)
async def test_a_carrier_that_is_not_there(world, method, path):
    answer = await world.request(method, path, json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "carrier_not_found")


# What bad configuration gets

FAULTS = {
    "too_low": ({"window": 0}, {"/window": "a whole number from 1 to 10000"}),
    "not_a_number": ({"rate": "fast"}, {"/rate": "a number above 0, at most 100000 or null"}),
    "misspelled": ({"windw": 7}, {"/windw": "window"}),
    "misspelled_and_null": ({"windw": None}, {"/windw": "window"}),
    "needed": ({"system_id": None}, {"/system_id": "a text of 1 to 15 characters"}),
    "no_port": (
        {"hosts": ["smsc.example"]},
        {"/hosts/0": "a list of host:port, for example smsc.example:2775"},
    ),
    "choice": ({"bind": "trx"}, {"/bind": "one of transceiver, transmitter+receiver"}),
    "in_a_table": (
        {"source_numeric": {"ton": 900, "npi": 1}},
        {"/source_numeric/ton": "a whole number from 0 to 255"},
    ),
    "tls_neither": (
        {"tls": "yes please"},
        {"/tls": "true, false, or an object with ca_file, cert_file, key_file, server_name"},
    ),
    "tls_key": (
        {"tls": {"ca": "x"}},
        {"/tls/ca": "one of ca_file, cert_file, key_file, server_name"},
    ),
    "status": (
        {"command_status": {"ESME_RSYSERR": "sunny"}},
        {
            "/command_status/ESME_RSYSERR": "an object such as "
            '{"ESME_RSYSERR": "throttled", "0x0408": "content_rejected"}'
        },
    ),
    "name": ({"name": "other"}, {"/name": "to leave it out"}),
    "several": (
        {"window": 7, "binds": 0, "ids": {"response": "roman"}},
        {"/binds": "a whole number from 1 to 64", "/ids/response": "one of text, decimal, hex"},
    ),
}


@pytest.mark.parametrize(("patch", "faults"), FAULTS.values(), ids=FAULTS)
async def test_a_bad_change_is_refused_whole_with_what_would_be_right(world, smsc, patch, faults):
    before, binds = world.operations.get("one").configuration, smsc.counters.binds
    answer = await world.patch("carriers/one", patch)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "carrier_invalid")
    assert {error["pointer"]: error["right"] for error in problem["errors"]} == faults
    assert all(error["detail"] and error["code"] for error in problem["errors"])
    assert world.operations.get("one").configuration == before
    assert world.operations.get("one").state == "up"
    assert smsc.counters.binds == binds
    assert await world.journal.carriers() == []


async def test_a_bad_account_is_not_added(world):
    answer = await world.post("carriers", {"name": "No Name"})
    problem = answer.json()
    assert answer.status_code == 422
    assert {error["pointer"] for error in problem["errors"]} == {
        *("/name", "/hosts", "/system_id", "/password")
    }
    assert list(await world.states()) == ["one"]


# Secrets


async def test_a_password_is_never_shown(world, account, tmp_path):
    secret = "s3cr3t"
    wrong = await world.post("carriers", account("two", password=secret, window=0))
    added = await world.post("carriers", account("two", password=secret))
    changed = await world.patch("carriers/one", {"password": secret})
    shown = [await world.get("carriers"), wrong, added, changed, await world.get("/metrics")]
    assert not any(secret in answer.text for answer in shown)
    assert changed.json()["changes"] == {"password": "**********"}
    assert (tmp_path / "smpp.db").stat().st_mode & 0o077 == 0


async def test_a_reference_to_a_secret_is_stored_as_a_reference(
    world, account, tmp_path, monkeypatch
):
    monkeypatch.setenv("TWO_PASSWORD", PASSWORD)
    await world.post("carriers", account("two", password="env:TWO_PASSWORD"))
    await world.patch("carriers/one", {"window": 3})
    await world.until(two="up")
    with sqlite3.connect(tmp_path / "smpp.db") as database:
        [[one], [two]] = database.execute("SELECT config_json FROM carriers ORDER BY name")
    assert "env:TWO_PASSWORD" in two
    assert PASSWORD not in one
    assert "password" not in one


async def test_what_was_removed_leaves_no_password_behind(world, account):
    await world.post("carriers", account("two", password="s3cr3t"))
    await world.delete("carriers/two")
    assert "s3cr3t" not in repr(await world.journal.carriers())


# What survives


async def test_what_was_changed_at_run_time_goes_before_the_file(world, start, account):
    await world.patch("carriers/one", {"window": 3})
    await world.post("carriers", account("zulu"))
    await world.post("carriers", account("alpha"))
    await world.post("carriers/zulu/suspend")
    await start.stop(world)

    again = await start(account("one", window=9, rate=10))
    await again.until(one="up", zulu="suspended", alpha="up")
    assert list(await again.states()) == ["one", "zulu", "alpha"]
    one = again.operations.get("one")
    assert (one.configuration["window"], one.configuration["rate"]) == (3, 10)


async def test_what_is_as_in_the_file_again_follows_the_file(world, start, account):
    await world.patch("carriers/one", {"window": 3})
    await world.patch("carriers/one", {"window": None})
    await start.stop(world)
    again = await start(account("one", window=9))
    assert again.operations.get("one").configuration["window"] == 9
    assert again.operations.get("one").origin == "file"


async def test_what_cannot_be_used_any_more_is_told_and_the_others_go_on(
    world, start, account, monkeypatch
):
    monkeypatch.setenv("TWO_PASSWORD", PASSWORD)
    await world.post("carriers", account("two", password="env:TWO_PASSWORD"))
    await world.patch("carriers/one", {"password": "env:TWO_PASSWORD", "window": 3})
    await start.stop(world)
    monkeypatch.delenv("TWO_PASSWORD")

    again = await start(account("one"))
    await again.until(one="up", two="invalid")
    for name in ("one", "two"):
        assert "TWO_PASSWORD is not set" in (await again.get(f"carriers/{name}")).json()["problem"]
    assert again.operations.get("one").configuration["window"] == 50
    assert (await again.patch("carriers/two", {"password": PASSWORD})).status_code == 200
    await again.until(two="up")


async def test_two_pools_on_one_database_follow_each_other(world, start, account):
    other = await start(account("one"))
    await other.until(one="up")
    await world.post("carriers", account("two"))
    await world.patch("carriers/one", {"window": 3})
    await other.until(two="up")
    await eventually(lambda: other.operations.get("one").configuration["window"] == 3, within=2.5)

    await asyncio.gather(
        other.patch("carriers/one", {"rate": 30}), other.post("carriers/two/suspend")
    )
    await world.until(two="suspended")
    await eventually(lambda: world.operations.get("one").configuration["rate"] == 30, within=2.5)
    assert world.operations.get("one").configuration["window"] == 3
    await other.delete("carriers/one")
    await world.until(one="removed")


async def test_a_database_that_is_away_for_a_moment_is_asked_again(world, start, account, caplog):
    other = await start(account("one"))
    reading, other.journal.carriers = other.journal.carriers, broken
    await eventually(lambda: "cannot follow" in caplog.text)
    assert (await other.get("carriers")).status_code == 200
    other.journal.carriers = reading
    await world.patch("carriers/one", {"window": 3})
    await eventually(lambda: other.operations.get("one").configuration["window"] == 3)


async def broken():
    raise sqlite3.OperationalError("disk I/O error")
