"""Who is on a list is found by every process, soon, and nobody else is."""

from __future__ import annotations

import io
import random
import subprocess
import sys
import time
from contextlib import closing
from types import SimpleNamespace

import pytest

from adapters.store.schema import open_store
from adapters.suppression import image, importing, index
from adapters.suppression.hashing import Hasher, entry_id, key_of, stored, unstored
from adapters.suppression.store import Position, WrongKey, open_lists
from domain.message import Category
from domain.suppression import EVERYBODY, RULES, Block, Reason, from_bits, packed, to_bits, unpacked
from tests.unit.suppression.conftest import World
from tests.waiting import until

ANNA = "+4520123456"
BO = "+4520123457"
STOPPED = Block(Reason.STOP, RULES[Reason.STOP].categories)


def put(world: World, address: str, reason: Reason = Reason.STOP, tenant: str = "acme", **more):
    entry = world.store.entry(tenant, more.pop("channel", "sms"), address, reason, **more)
    return world.store.put(tenant, [entry])


def test_a_change_reaches_every_process_within_a_second(world: World):
    one, two = world.process("one"), world.process("two")
    assert one.blocks("acme", ANNA) == []
    put(world, ANNA)
    until(lambda: one.blocks("acme", ANNA) == two.blocks("acme", ANNA) == [STOPPED], within=1.0)
    world.store.lift("acme", world.store.entry("acme", "sms", ANNA, Reason.STOP).key)
    until(lambda: not one.blocks("acme", ANNA) and not two.blocks("acme", ANNA), within=1.0)


def test_a_process_that_starts_later_knows_the_same(world: World):
    put(world, ANNA)
    first = world.process("one")
    put(world, BO)
    first.lists.refresh()
    second, third = world.process("one"), world.process("another")
    for process in (first, second, third):
        assert process.blocks("acme", ANNA) == process.blocks("acme", BO) == [STOPPED]


def test_lists_channels_and_tenants_are_apart(world: World):
    put(world, ANNA)
    process = world.process()
    assert process.blocks("acme", ANNA)
    assert not process.blocks("acme", BO)
    assert not process.blocks("acme", ANNA, channel="whatsapp")
    assert not process.blocks("globex", ANNA)
    assert not process.blocks(EVERYBODY, ANNA)


def test_several_reasons_for_one_address(world: World):
    put(world, ANNA, Reason.STOP)
    put(world, ANNA, Reason.MANUAL, categories=[Category.OTP])
    manual = Block(Reason.MANUAL, frozenset({Category.OTP}))
    process = world.process()
    assert process.blocks("acme", ANNA) == [manual, STOPPED]
    key = world.store.entry("acme", "sms", ANNA, Reason.STOP).key
    assert world.store.lift("acme", key, [Reason.STOP, Reason.COMPLAINT]) == [Reason.STOP]
    process.lists.refresh()
    assert process.blocks("acme", ANNA) == [manual]


def test_what_was_there_already_is_not_new(world: World):
    assert put(world, ANNA) == [True]
    assert put(world, ANNA) == [False]
    assert put(world, ANNA, categories=[Category.MARKETING]) == [False]
    assert put(world, ANNA, categories=[Category.OTP]) == [True]


ALL = list(Category)
MARKETING, OTP = [Category.MARKETING], [Category.OTP]


@pytest.mark.parametrize(
    ("before", "again", "after"),
    [
        (ALL, MARKETING, ALL),
        (MARKETING, ALL, ALL),
        (MARKETING, MARKETING, MARKETING),
        (MARKETING, OTP, [*MARKETING, *OTP]),
    ],
)
@pytest.mark.parametrize("way", ["put", "import", "large import"])
def test_what_is_put_on_a_list_again_never_blocks_less(
    world: World, monkeypatch: pytest.MonkeyPatch, way, before, again, after
):
    monkeypatch.setattr(importing, "FEW", 0 if way == "large import" else 10)
    put(world, ANNA, Reason.MANUAL, categories=before)
    if way == "put":
        changed = put(world, ANNA, Reason.MANUAL, categories=again)[0]
    else:
        changed = imported(world, ANNA, again).added > 0
    assert changed is (set(before) != set(after))
    [entry] = world.store.held("acme", world.store.entry("acme", "sms", ANNA, Reason.MANUAL).key)
    assert entry.categories == set(after)
    world.rewrite()
    assert world.process().blocks("acme", ANNA) == [Block(Reason.MANUAL, frozenset(after))]


def imported(world: World, text: str, categories: list[Category]) -> importing.Imported:
    world.directory.mkdir(exist_ok=True)
    with closing(open_store(world.where, "hermes")) as database:
        open_lists(database, world.hasher)
        purpose = importing.Purpose("acme", "sms", frozenset(categories))
        file = io.StringIO(text)
        return importing.import_file(database, world.hasher, file, purpose, world.directory)


def test_an_import_of_a_few_tells_every_process_what_is_held(world: World):
    process = world.process()
    put(world, ANNA)
    assert imported(world, f"{ANNA}\n{BO}\n", OTP).added == 2
    process.lists.refresh()
    manual = Block(Reason.MANUAL, frozenset(OTP))
    assert process.blocks("acme", ANNA) == [manual, STOPPED]
    assert process.blocks("acme", BO) == [manual]


def test_an_import_of_a_few_leaves_the_database_to_others(
    tmp_path, monkeypatch: pytest.MonkeyPatch
):
    """Of SQLite, where whoever waits has to find it free."""
    world = World(tmp_path / "hermes.db", tmp_path / "images")
    statements, rests, now = [], [], [0.0]

    def monotonic() -> float:
        now[0] += 0.05
        return now[0]

    clock = SimpleNamespace(monotonic=monotonic, sleep=rests.append, time=time.time)
    monkeypatch.setattr(importing, "time", clock)
    lines = 2_000
    world.directory.mkdir()
    with closing(open_store(world.where, "hermes")) as database:
        open_lists(database, world.hasher)
        database.set_trace_callback(statements.append)
        text = "".join(f"+45{20_100_000 + n}\n" for n in range(lines))
        purpose = importing.Purpose("acme", "sms")
        importing.import_file(database, world.hasher, io.StringIO(text), purpose, world.directory)
    # Each row is written once, and what is held against it is read with its group.
    assert len(statements) < 1.5 * lines
    # It rests for as long as it took.
    assert rests
    assert min(rests) >= 0.049


def test_a_new_image_takes_the_place_of_the_changes(world: World):
    process = world.process()
    put(world, ANNA)
    process.lists.refresh()
    assert process.lists.value.image.count == 0
    world.rewrite()
    started = world.process()
    assert started.lists.value.image.count == 1
    assert started.lists.value.changed == {}
    assert started.blocks("acme", ANNA) == [STOPPED]
    assert process.blocks("acme", ANNA) == [STOPPED]
    assert len(list(process.directory.glob("*.image"))) == 1


def test_a_change_after_the_image_goes_before_it(world: World):
    put(world, ANNA)
    process = world.process()
    assert process.lists.value.image.count == 1
    world.store.lift("acme", world.store.entry("acme", "sms", ANNA, Reason.STOP).key)
    process.lists.refresh()
    assert process.blocks("acme", ANNA) == []


def test_many_changes_have_a_new_image_written(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(index, "MOST_CHANGES", 3)
    process = world.process()
    for last in range(6):
        put(world, f"+452012345{last}")
    until(lambda: process.lists.value.image.count == 6 and not process.lists.value.changed)
    assert process.blocks("acme", "+4520123450") == [STOPPED]


def test_a_machine_that_was_away_for_long_makes_its_image_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    """The changes that it missed are no longer kept."""
    old = world.process("away")
    old.sections.close()
    world.processes.remove(old)
    put(world, ANNA)
    monkeypatch.setattr("adapters.suppression.rewrite._KEPT", 0.0)
    world.rewrite("one")
    with closing(open_store(world.where, "hermes")) as database:
        kept = database.execute("SELECT COUNT(*) FROM suppression_changes").fetchone()[0]
    assert kept == 0
    assert world.process("away").blocks("acme", ANNA) == [STOPPED]


def test_an_image_of_another_database_is_left_aside(world: World):
    image.write(world.directory / "one", 99, "other", [(5, 10)])
    put(world, ANNA)
    process = world.process("one")
    assert process.blocks("acme", ANNA) == [STOPPED]
    assert process.lists.value.find(5) == b""


def test_a_broken_image_is_left_aside(world: World):
    put(world, ANNA)
    first = world.process("one")
    path = first.lists.value.image.path
    path.with_name(image.NAME.format(number=10**9)).write_bytes(path.read_bytes()[:-1])
    assert world.process("one").blocks("acme", ANNA) == [STOPPED]


def test_another_secret_is_noticed(world: World):
    world.process()
    world.hasher = Hasher(bytes(32))
    with pytest.raises(WrongKey):
        world.process()


def test_no_address_is_in_the_database(world: World, tmp_path):
    put(world, ANNA)
    put(world, "anna.larsen@example.com", channel="email")
    with closing(open_store(world.where, "hermes")) as database:
        rows = database.execute("SELECT * FROM suppressions").fetchall()
    assert len(rows) == 2
    assert "20123456" not in repr(rows)
    assert "larsen" not in repr(rows)


def test_who_is_forgotten_stays_suppressed(world: World):
    put(world, ANNA, source="mo_1")
    assert world.store.forget("acme", "sms", ANNA) == 1
    [entry] = world.store.page("acme", 10)
    assert (entry.masked, entry.source) == ("", "")
    assert world.process().blocks("acme", ANNA) == [STOPPED]


def test_a_page_leads_to_the_next(world: World):
    for last in range(10):
        put(world, f"+452012345{last}")
    put(world, ANNA, tenant="globex")
    found, before = [], None
    while page := world.store.page("acme", 3, before):
        found += [entry.key for entry in page]
        before = Position(page[-1].created_at.timestamp(), page[-1].key, page[-1].reason)
    assert len(found) == len(set(found)) == 10


def test_the_list_is_read_by_its_index(tmp_path):
    """However long it is. Of SQLite: PostgreSQL's plans depend on its statistics."""
    with closing(open_store(tmp_path / "hermes.db", "hermes")) as database:
        queries = {
            "SELECT key FROM suppressions WHERE tenant = 'a' AND imported = 0 AND"
            " (created_at, key, reason) < (1, 2, '') ORDER BY created_at DESC, key DESC,"
            " reason DESC LIMIT 5": "by_time",
            "SELECT key FROM suppressions WHERE tenant = 'a' AND key = 5": "PRIMARY KEY",
            "SELECT key FROM suppressions WHERE (tenant, key, reason) > ('', 0, '')"
            " ORDER BY tenant, key, reason LIMIT 5": "PRIMARY KEY",
            "SELECT key FROM suppression_changes WHERE number > 5 ORDER BY number, key": (
                "PRIMARY KEY"
            ),
        }
        for query, using in queries.items():
            plan = " ".join(str(row) for row in database.execute(f"EXPLAIN QUERY PLAN {query}"))
            assert using in plan, query
            assert "TEMP B-TREE" not in plan, query


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 5_000, 70_000])
def test_an_image_finds_what_is_in_it_and_nothing_else(tmp_path, count):
    rng = random.Random(count)
    held = {rng.getrandbits(64): rng.randrange(1, 256) for _ in range(count)}
    held |= {0: 1, (1 << 64) - 1: 2} if count > 1 else {}
    entries = list(held.items())
    if count > 100:
        entries += [(entries[7][0], 99)]
    rng.shuffle(entries)
    made = image.Image(image.write(tmp_path, 1, "list", entries))
    assert made.count == len(entries)
    expected = {key: sorted(o for k, o in entries if k == key) for key in list(held)[:200]}
    assert {key: sorted(made.find(key)) for key in expected} == expected
    assert all(made.find(key) for key in held)
    others = [rng.getrandbits(64) for _ in range(1_000)]
    assert not any(made.find(key) for key in others if key not in held)


def test_an_image_that_breaks_off_leaves_nothing(tmp_path):
    def entries():
        yield 1, 1
        raise OSError("the database is gone")

    with pytest.raises(OSError, match="gone"):
        image.write(tmp_path, 1, "list", entries())
    assert list(tmp_path.iterdir()) == []


def test_one_writer_a_machine(world: World):
    """Of two that are asked for the same image, the second finds it done."""
    put(world, ANNA)
    process = world.process()
    put(world, BO)
    task = (
        "import sys; from pathlib import Path; from adapters.suppression.rewrite import rewrite;"
        "rewrite(Path(sys.argv[1]) if sys.argv[1][0] == '/' else sys.argv[1], Path(sys.argv[2]),"
        " sys.argv[3])"
    )
    arguments = [str(world.where), str(process.directory), process.lists.value.image.list_id]
    writers = [
        subprocess.Popen([sys.executable, "-c", task, *arguments], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for writer in writers:
        _, said = writer.communicate(timeout=60)
        assert writer.returncode == 0, said
    assert world.process().lists.value.image.count == 2


KEYS = [0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 0x0123456789ABCDEF]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_has_one_id(key):
    assert key_of(entry_id(key)) == key
    assert unstored(stored(key)) == key


@pytest.mark.parametrize(
    "text", ["", "sup_", "sup_0", "0" * 13, "sup_" + "Z" * 13, "sup_" + "U" * 13, "msg_" + "0" * 13]
)
def test_what_is_no_id(text):
    assert key_of(text) is None


def test_stored_keys_keep_their_order():
    assert sorted(KEYS) == sorted(KEYS, key=stored)


def test_every_reason_fits_its_octet():
    assert len({rule.number for rule in RULES.values()}) == len(Reason)
    for reason, rule in RULES.items():
        assert unpacked(packed(reason, to_bits(rule.categories))) == Block(reason, rule.categories)
        assert 0 < packed(reason, 7) < 256
    assert from_bits(to_bits(Category)) == frozenset(Category)
