"""Operators say which senders are whose; every process goes by it."""

from __future__ import annotations

from contextlib import closing

import pytest

from adapters.store import senders as store
from adapters.store.sections import Sections
from adapters.store.tenants import create_tenant
from domain.content_rules import Action

ONE = "senders/acme/Acme"
DEFAULTS = {
    "tenant": "acme",
    "sender": "Acme",
    "status": "approved",
    "countries": [],
    "reserved": False,
    "note": "",
}


def without_time(sender: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in sender.items() if key != "changed_at"}


async def put(world, path: str = ONE, **fields: object):
    return await world.request("PUT", path, json=fields)


async def test_a_sender_is_put_shown_listed_and_removed(world):
    answer = await put(world)
    assert answer.status_code == 200
    assert without_time(answer.json()) == DEFAULTS
    assert (await world.get(ONE)).json() == answer.json()
    assert (await world.get("senders")).json() == {
        "senders": [answer.json()],
        "next_cursor": None,
    }
    removed = await world.request("DELETE", ONE)
    assert removed.json() == {"tenant": "acme", "sender": "Acme"}
    assert (await world.get(ONE)).json()["code"] == "sender_not_found"
    assert (await world.request("DELETE", ONE)).status_code == 404


async def test_a_sender_is_one_however_it_is_written(world):
    await put(world, countries=["IN"])
    answer = await put(world, "senders/acme/ACME", countries=["SG", "IN", "SG"], note="new")
    assert answer.json()["countries"] == ["IN", "SG"]
    assert [one["sender"] for one in (await world.get("senders")).json()["senders"]] == ["ACME"]
    assert (await world.get("senders/acme/acme")).json()["note"] == "new"


async def test_every_change_is_in_the_audit_log(world):
    await put(world)
    await put(world, status="rejected", note="spam")
    await world.request("DELETE", ONE)
    lines = [line for line in await world.lines(tenant="acme") if "sender" in line["action"]]
    assert [(line["action"], line["subject"]) for line in lines] == [
        ("sender.remove", "Acme"),
        ("sender.put", "Acme"),
        ("sender.put", "Acme"),
    ]
    assert lines[1]["detail"] == {
        "before": {"status": "approved", "note": ""},
        "after": {"status": "rejected", "note": "spam"},
    }


async def test_the_pipeline_sees_a_change(world):
    with closing(Sections(world.where)) as sections:
        senders = sections.register(store.SECTION, store.load)

        def finding(country: str):
            return senders.value.check("acme", "Acme", country, Action.ALLOW)

        assert finding("IN") == ("sender_not_registered", Action.REFUSE)
        await put(world, countries=["IN"])
        senders.refresh()
        assert finding("IN") is None
        await world.request("DELETE", ONE)
        senders.refresh()
        assert finding("IN") == ("sender_not_registered", Action.REFUSE)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (ONE, {"status": "maybe"}, 422, "validation_failed"),
        (ONE, {"countries": ["Denmark"]}, 422, "validation_failed"),
        (ONE, {"countries": "DK"}, 422, "validation_failed"),
        (ONE, {"colour": "red"}, 422, "validation_failed"),
        ("senders/acme/TwelveLetters", {}, 422, "validation_failed"),
        ("senders/acme/%C3%86", {}, 422, "validation_failed"),
        ("senders/nobody/Acme", {}, 404, "tenant_not_found"),
        ("senders/No Tenant/Acme", {}, 404, "tenant_not_found"),
        ("senders/acme/A%00", {}, 404, "not_found"),
    ],
)
async def test_what_is_wrong_is_refused_and_changes_nothing(world, path, body, status, code):
    answer = await world.request("PUT", path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await world.get("senders")).json()["senders"] == []


async def test_a_long_list_comes_in_pages(world):
    create_tenant(world.where, "globex")
    for tenant, name in [("acme", "B"), ("acme", "A"), ("globex", "A"), ("globex", "C")]:
        await put(world, f"senders/{tenant}/{name}")
    seen, cursor = [], ""
    while cursor is not None:
        page = (await world.get("senders", params={"limit": 3, "cursor": cursor})).json()
        seen += [(one["tenant"], one["sender"]) for one in page["senders"]]
        cursor = page["next_cursor"]
    assert seen == [("acme", "A"), ("acme", "B"), ("globex", "A"), ("globex", "C")]
    only = (await world.get("senders", params={"tenant": "globex"})).json()["senders"]
    assert [one["sender"] for one in only] == ["A", "C"]
