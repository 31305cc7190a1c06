"""Small tables in memory: a change by anybody is seen, a database that is away does no harm."""

import contextlib
import threading

import pytest

from adapters.store.database import connect
from adapters.store.sections import Sections, touch
from tests.waiting import until


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request, tmp_path):
    if request.param == "sqlite":
        return tmp_path / "hermes.db"
    return request.getfixturevalue("postgres")


@pytest.fixture
def sections(where):
    sections = Sections(where)
    yield sections
    sections.close()


def names(database):
    return tuple(name for (name,) in database.execute("SELECT id FROM tenants ORDER BY id"))


def add(where, tenant, *, section="tenants"):
    database = connect(where)
    with database.transaction():
        database.execute(
            "INSERT INTO tenants (id, webhook_secret, created_at) VALUES (?, 'w', '2026')",
            (tenant,),
        )
        touch(database, section)
    database.close()


def test_a_value_is_there_at_once(where, sections):
    add(where, "acme")
    assert sections.register("tenants", names).value == ("acme",)


def test_a_change_elsewhere_is_seen(where, sections):
    section = sections.register("tenants", names)
    add(where, "acme")
    until(lambda: section.value == ("acme",), within=1)
    add(where, "globex")
    until(lambda: section.value == ("acme", "globex"), within=1)


def test_whoever_made_the_change_sees_it_at_once(where, sections):
    section = sections.register("tenants", names)
    add(where, "acme")
    section.refresh()
    assert section.value == ("acme",)


def test_only_what_changed_is_read_again(where, sections):
    reads = []
    sections.register("tenants", lambda database: reads.append("tenants"))
    sections.register("prices", lambda database: reads.append("prices"))
    add(where, "acme", section="prices")
    sections.refresh()
    assert reads == ["tenants", "prices", "prices"]


def test_a_loader_that_fails_keeps_the_old_value_and_is_tried_again(where, sections):
    broken = []

    def load(database):
        if broken:
            raise ValueError("no")
        return names(database)

    section = sections.register("tenants", load)
    other = sections.register("others", names)
    add(where, "acme")
    add(where, "globex", section="others")
    broken.append(True)
    with pytest.raises(ValueError, match="no"):
        section.refresh()
    assert (section.value, other.value) == ((), ("acme", "globex"))
    broken.clear()
    until(lambda: section.value == ("acme", "globex"), within=2)


def test_a_section_that_cannot_be_read_is_not_the_fault_of_another_ones_change(
    where, sections, caplog
):
    def load(database):
        if names(database):
            raise ValueError("no")

    broken, section = sections.register("broken", load), sections.register("tenants", names)
    add(where, "acme", section="broken")
    for tenants in (["acme", "globex"], ["acme", "globex", "initech"]):
        add(where, tenants[-1])
        section.refresh()
        assert section.value == tuple(tenants)
    with pytest.raises(ValueError, match="no"):
        broken.refresh()
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == 1, "once, not twice a second for ever"


def test_a_section_that_is_slow_to_read_holds_no_other_up(where, sections, monkeypatch):
    go = threading.Event()
    go.set()

    def load(database):
        assert go.wait(10)
        return names(database)

    monkeypatch.setattr("adapters.store.sections.SLOW", -1.0)
    slow = sections.register("tenants", load)
    monkeypatch.setattr("adapters.store.sections.SLOW", 60.0)
    quick = sections.register("prices", names)
    go.clear()
    try:
        add(where, "acme")
        add(where, "globex", section="prices")
        until(lambda: quick.value == ("acme", "globex"), within=1.5)
        assert slow.value == ()
    finally:
        go.set()
    until(lambda: slow.value == ("acme", "globex"), within=1.5)
    until(lambda: not slow.slow, within=1.5)
    add(where, "initech")
    slow.refresh()
    assert slow.value == ("acme", "globex", "initech"), "among the quick ones again"


@pytest.mark.parametrize("slow", [-1.0, 60.0])
def test_whoever_changes_a_slow_section_sees_it_at_once_too(where, sections, monkeypatch, slow):
    monkeypatch.setattr("adapters.store.sections.SLOW", slow)
    monkeypatch.setattr("adapters.store.sections.POLL", 60.0)
    section = sections.register("tenants", names)
    for tenants in (["acme"], ["acme", "globex"]):
        add(where, tenants[-1])
        section.refresh()
        assert section.value == tuple(tenants)
    add(where, "initech")
    sections.refresh()
    assert section.value == ("acme", "globex", "initech")


def test_a_change_that_was_rolled_back_moves_nothing(where, sections):
    section = sections.register("tenants", names)
    before = section.version
    database = connect(where)
    with contextlib.suppress(ConnectionError), database.transaction():
        touch(database, "tenants")
        raise ConnectionError
    database.close()
    sections.refresh()
    assert section.version == before


def test_nobody_registers_a_section_twice(sections):
    sections.register("tenants", names)
    with pytest.raises(ValueError, match="twice"):
        sections.register("tenants", names)
