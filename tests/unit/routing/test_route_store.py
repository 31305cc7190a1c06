"""Routes in the database, on each kind: what is refused, who is protected, what is written down."""

import time
from contextlib import closing

import pytest

from adapters.routing.store import (
    SECTION,
    RouteExists,
    RouteInvalid,
    RouteNeeded,
    RouteStore,
    UnknownRoute,
    load_routes,
    rules_of,
)
from adapters.store.audit import entries
from adapters.store.change import change, looking
from adapters.store.sections import Sections
from adapters.store.tenants import add_tenant, change_tenant, create_tenant, load_tenants
from domain.routing.routes import Route
from tests.waiting import until

DK = {"name": "dk", "channel": "sms", "provider": "telia", "prefixes": ["45"]}


@pytest.fixture
def world(where):
    """A store in a world of two tenants that send, with some implicit routes."""
    for tenant in ("acme", "globex"):
        add_tenant(where, tenant, {"tier": "dedicated"})
        sends(where, tenant)
    return World(where)


class World:
    def __init__(self, where):
        self.where = where
        self.implicit = []
        self.adapters = set()
        self.store = RouteStore(
            where,
            lambda database: rules_of(load_tenants(database)),
            implicit=lambda: [Route(name, "sms", provider=name) for name in self.implicit],
            has_adapter=lambda *asked: asked in self.adapters,
        )

    def add(self, name, force=False, **document):
        whole = {"name": name, "channel": "sms", "provider": name, **document}
        return self.store.add(whole, "operator", force=force)

    def names(self):
        return [route.name for route in self.store.list()]

    def needed_by(self, call, *arguments, **options):
        """Whom a change would leave without a route."""
        before = self.store.list()
        try:
            call(*arguments, **options)
        except RouteNeeded as needed:
            assert self.store.list() == before
            return {(one.tenant, one.channel) for one in needed.stranded}
        return set()


def sends(where, tenant):
    with change(where) as database:
        database.execute(
            "INSERT INTO messages (id, tenant, status, created_at, order_json)"
            " VALUES (?, ?, 'sent', ?, ?)",
            (f"msg_{tenant}", tenant, time.time(), b"{}"),
        )


def test_a_route_is_kept_with_its_place(world):
    world.add("b")
    world.add("a", prefixes=["45"])
    assert world.names() == ["b", "a"]
    assert world.store.get("a").prefixes == ("45",)
    with pytest.raises(UnknownRoute):
        world.store.get("c")


def test_a_name_is_given_once(world):
    world.add("a")
    with pytest.raises(RouteExists):
        world.add("a")


def test_a_change_is_a_merge_patch(world):
    world.add("a", prefixes=["45"], priority=3)
    changed = world.store.change("a", {"prefixes": None, "weight": 7}, "operator")
    assert (changed.prefixes, changed.weight, changed.priority) == ((), 7, 3)
    assert world.store.get("a") == changed
    with pytest.raises(UnknownRoute):
        world.store.change("b", {}, "operator")


FAULTS = {
    "no such key": ({"prefix": "45"}, "prefix"),
    "wrong type": ({"weight": "much"}, "weight"),
    "out of range": ({"weight": 0}, "weight"),
    "no digits": ({"prefixes": ["+45"]}, "prefixes"),
    "no country": ({"countries": ["Denmark"]}, "countries"),
    "no channel": ({"channel": "fax"}, "channel"),
    "no kind": ({"kind": "pigeon"}, "kind"),
    "a bad name": ({"name": "No Name"}, "name"),
    "nobody's": ({"provider": ""}, "provider"),
}


@pytest.mark.parametrize(("wrong", "field"), FAULTS.values(), ids=FAULTS)
def test_what_makes_no_sense_is_refused(world, wrong, field):
    with pytest.raises(RouteInvalid) as caught:
        world.store.add({**DK, **wrong}, "operator")
    assert [fault.path[0] for fault in caught.value.faults] == [field]
    assert world.names() == []


def test_a_route_keeps_its_name(world):
    world.add("a")
    with pytest.raises(RouteInvalid):
        world.store.change("a", {"name": "b"}, "operator")


# The guard: what is done, and who would be left without a route


def test_the_last_route_of_tenants_that_send_is_needed(world):
    world.add("a")
    everybody = {("acme", "sms"), ("globex", "sms")}
    remove, patch = world.store.remove, world.store.change
    assert world.needed_by(remove, "a", "operator") == everybody
    assert world.needed_by(patch, "a", {"enabled": False}, "operator") == everybody
    assert world.needed_by(patch, "a", {"tenants": ["acme"]}, "operator") == {("globex", "sms")}
    assert world.needed_by(patch, "a", {"priority": 1}, "operator") == set()
    world.store.remove("a", "operator", force=True)
    assert world.names() == []


def test_another_route_is_as_good(world):
    world.add("a")
    world.add("b", tenants=["globex"])
    remove = world.store.remove
    assert world.needed_by(remove, "a", "operator") == {("acme", "sms")}
    world.implicit = ["carrier"]
    assert world.needed_by(remove, "a", "operator") == set()


def test_a_route_may_take_a_provider_from_those_that_it_served_by_itself(world):
    world.implicit = ["carrier"]
    add = world.add
    assert world.needed_by(add, "mine", provider="carrier", tenants=["acme"]) == {("globex", "sms")}
    world.implicit = ["carrier", "other"]
    assert world.needed_by(add, "mine", provider="carrier", tenants=["acme"]) == set()


def test_nobody_needs_what_the_tenant_excludes(world):
    world.add("a")
    change_tenant(world.where, "acme", {"routing": {"exclude": ["a"]}})
    assert world.needed_by(world.store.remove, "a", "operator") == {("globex", "sms")}


def test_an_adapter_is_a_route_of_the_tenants_that_have_it(world):
    world.adapters = {("acme", "twilio", "sms")}
    world.add("t", kind="adapter", provider="twilio")
    assert world.needed_by(world.store.remove, "t", "operator") == {("acme", "sms")}


def test_who_does_not_send_needs_nothing(where):
    create_tenant(where, "quiet")
    world = World(where)
    world.add("a")
    assert world.needed_by(world.store.remove, "a", "operator") == set()


def test_who_has_a_sender_of_its_own_is_about_to_send(where):
    create_tenant(where, "quiet")
    with change(where) as database:
        database.execute(
            "INSERT INTO senders (tenant, folded, sender, status, countries_json, reserved, note,"
            " changed_at) VALUES ('quiet', 'quiet', 'Quiet', 'approved', '[]', 0, '', 0)"
        )
    world = World(where)
    world.add("a")
    assert world.needed_by(world.store.remove, "a", "operator") == {("quiet", "sms")}


def test_a_tenant_that_is_suspended_sends_nothing(world):
    world.add("a")
    change_tenant(world.where, "acme", {"suspended": True})
    assert world.needed_by(world.store.remove, "a", "operator") == {("globex", "sms")}


# What others see of it


def test_every_change_is_in_the_audit_log(world):
    world.add("a")
    world.store.change("a", {"weight": 7}, "operator:jo", force=True)
    world.store.change("a", {"weight": 7}, "operator:jo", force=True)  # changes nothing
    world.store.remove("a", "operator", force=True)
    with looking(world.where) as database:
        told = [e for e in entries(database, tenant=None, limit=10) if e.subject == "a"]
    assert [(e.action, e.actor) for e in reversed(told)] == [
        ("route.add", "operator"),
        ("route.change", "operator:jo"),
        ("route.remove", "operator"),
    ]
    assert told[1].detail == {"before": {"weight": 100}, "after": {"weight": 7}}


def test_a_change_is_in_use_elsewhere_within_a_second(world):
    with closing(Sections(world.where)) as sections:
        section = sections.register(SECTION, load_routes)
        before = section.value
        assert before == ()
        world.add("a")
        until(lambda: [route.name for route in section.value] == ["a"], within=1)


def test_a_refused_change_moves_nothing(world):
    world.add("a")
    with closing(Sections(world.where)) as sections:
        section = sections.register(SECTION, load_routes)
        version = section.version
        with pytest.raises(RouteNeeded):
            world.store.remove("a", "operator")
        sections.refresh()
        assert section.version == version
