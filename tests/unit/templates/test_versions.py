"""Which versions are in memory, and who waits for one that is not."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import msgspec
import pytest

from adapters.store.sections import Sections
from adapters.templates.store import Library, TemplateStore, TooMany, UnknownVersion, follow
from adapters.templates.versions import Key, Versions
from domain.templates.definition import Compiled, Definition
from tests.waiting import eventually


def definition(text: str = "Hi {{name}}", languages: tuple[str, ...] = ("en",)) -> Definition:
    raw = {
        "default_language": languages[0],
        "variables": {"name": {"required": False}},
        "languages": {language: {"text": text} for language in languages},
    }
    return msgspec.convert(raw, Definition)


def key(tenant: str = "acme", name: str = "visit", version: int = 1, made_at: float = 1.0) -> Key:
    return Key(tenant, name, made_at, version)


class Stored:
    """Definitions that were asked for."""

    def __init__(self, text: str = "Hi {{name}}") -> None:
        self.source = msgspec.json.encode(definition(text))
        self.reads: list[Key] = []
        self.threads: set[str] = set()

    def __call__(self, wanted: Key) -> bytes | None:
        self.reads.append(wanted)
        self.threads.add(threading.current_thread().name)
        return self.source if wanted.version < 1000 else None


@pytest.fixture(autouse=True)
def no_rest(monkeypatch):
    monkeypatch.setattr("adapters.templates.versions.REST", 0.0)


async def test_a_version_is_read_once_and_not_on_the_event_loop():
    stored = Stored()
    versions = Versions(stored)
    assert versions.ready(key()) is None
    found = await asyncio.gather(*(versions.get(key()) for _ in range(50)))
    assert stored.reads == [key()]
    assert {id(one) for one in found} == {id(versions.ready(key()))}
    assert threading.current_thread().name not in stored.threads


def text_of(made: Compiled | None) -> str:
    assert made is not None
    return made.render("en", made.values({"name": "Anna"}, ()), ("sms",)).text


async def one_weight(stored: Stored) -> int:
    versions = Versions(stored)
    await versions.get(key())
    return versions.weight


@pytest.mark.parametrize(
    ("text", "at_least"),
    [
        ("x" * 20_000, 40_000),
        ("x" * 19_000 + "😀", 8 * 19_000),
        ("{{name}}" * 200, 200 * 400),
    ],
)
async def test_what_a_version_takes_in_memory_is_estimated(text: str, at_least: int):
    assert await one_weight(Stored(text)) >= at_least


async def test_who_uses_many_versions_pushes_out_its_own_and_not_the_others():
    stored = Stored()
    weight = await one_weight(stored)
    versions = Versions(stored, most=10 * weight, share=3 * weight)
    await versions.get(key("globex"))
    for version in range(1, 6):
        await versions.get(key(version=version))
    assert versions.ready(key("globex")) is not None
    assert [n for n in range(1, 6) if versions.ready(key(version=n))] == [3, 4, 5]
    assert versions.weight == 4 * weight


async def test_all_tenants_together_have_a_bound_and_what_was_used_lately_stays():
    stored = Stored()
    weight = await one_weight(stored)
    versions = Versions(stored, most=3 * weight, share=3 * weight)
    for tenant in ("a", "b", "c"):
        await versions.get(key(tenant))
    versions.ready(key("a"))
    await versions.get(key("d"))
    assert [t for t in "abcd" if versions.ready(key(t))] == ["a", "c", "d"]
    assert versions.weight == 3 * weight


async def test_a_version_larger_than_a_share_is_rendered_all_the_same():
    versions = Versions(Stored(), share=1)
    assert text_of(await versions.get(key())) == "Hi Anna"
    assert versions.weight == 0


async def test_a_tenant_that_needs_much_waits_and_the_others_do_not(monkeypatch):
    monkeypatch.setattr("adapters.templates.versions.REST", 1e9)
    versions = Versions(Stored())
    await versions.get(key())
    second = asyncio.ensure_future(versions.get(key(version=2)))
    assert text_of(await versions.get(key("globex"))) == "Hi Anna"
    assert not second.done()
    assert text_of(versions.ready(key())) == "Hi Anna", "what is in memory waits for nothing"
    second.cancel()


async def test_what_breaks_while_it_is_read_is_told_and_tried_again():
    stored = Stored()
    broken = [OSError("away")]

    def read(wanted: Key) -> bytes | None:
        if broken:
            raise broken.pop()
        return stored(wanted)

    versions = Versions(read)
    with pytest.raises(OSError, match="away"):
        await versions.get(key())
    assert text_of(await versions.get(key())) == "Hi Anna"


async def test_a_version_that_does_not_exist_is_looked_for_once():
    stored = Stored()
    library = Library({("acme", "visit"): (1, 1.0)}, Versions(stored))
    for _ in range(3):
        assert await library.get("acme", "visit", 2000) is None
        assert await library.get("acme", "nothing", 1) is None
        assert await library.get("globex", "visit", 1) is None
    assert stored.reads == [key(version=2000)]


@pytest.fixture
def sections(where):
    sections = Sections(where)
    yield sections
    sections.close()


@pytest.fixture
def store(where) -> TemplateStore:
    return TemplateStore(where)


async def test_a_change_has_no_version_read_or_made(sections, store, monkeypatch):
    def never(*arguments: Any) -> Any:
        raise AssertionError("where every other section waits for it")

    store.create("acme", "visit", definition(), "key:1")
    monkeypatch.setattr("adapters.templates.versions.compiled", never)
    monkeypatch.setattr(store, "source", never)
    library = follow(sections, store)
    for number in range(3):
        store.publish("acme", "visit", definition(f"v {number}"), "key:1", activate=True)
        library.refresh()
    assert library.value.active("acme", "visit") == 4
    assert library.value.ready("acme", "visit", 4) is None


async def test_a_version_published_elsewhere_is_there_within_a_second(sections, store):
    library = follow(sections, store)
    store.create("acme", "visit", definition("one"), "key:1")
    await eventually(lambda: library.value.active("acme", "visit") == 1)
    assert await library.value.get("acme", "visit", 2) is None
    store.publish("acme", "visit", definition("two"), "key:1", activate=True)
    await eventually(lambda: library.value.active("acme", "visit") == 2)
    assert text_of(await library.value.get("acme", "visit", 2)) == "two"


async def test_a_template_that_was_created_again_has_none_of_its_old_versions(sections, store):
    library = follow(sections, store)
    store.create("acme", "visit", definition("old"), "key:1")
    store.publish("acme", "visit", definition("old 2"), "key:1", activate=False)
    library.refresh()
    assert text_of(await library.value.get("acme", "visit", 1)) == "old"
    store.remove("acme", "visit", "key:1")
    again = store.create("acme", "visit", definition("new"), "key:1")
    library.refresh()
    assert again.active == 3, "the numbers go on"
    assert [line.version for line in again.versions] == [3]
    assert await library.value.get("acme", "visit", 1) is None
    assert text_of(await library.value.get("acme", "visit", 3)) == "new"
    with pytest.raises(UnknownVersion):
        store.version("acme", "visit", 2)


def test_what_a_tenant_may_store_has_a_bound(store, monkeypatch):
    size = len(msgspec.json.encode(definition("a" * 100)))
    monkeypatch.setattr("adapters.templates.store.MAX_OCTETS", 3 * size)
    store.create("acme", "one", definition("a" * 100), "key:1")
    store.create("acme", "two", definition("b" * 100), "key:1")
    store.publish("acme", "two", definition("c" * 100), "key:1", activate=True)
    with pytest.raises(TooMany):
        store.publish("acme", "two", definition("d" * 100), "key:1", activate=True)
    with pytest.raises(TooMany):
        store.create("acme", "three", definition("d"), "key:1")
    assert [line.version for line in store.get("acme", "two").versions] == [2, 1]
    store.create("globex", "one", definition("a" * 100), "key:1")
    store.remove("acme", "one", "key:1")
    store.publish("acme", "two", definition("d" * 100), "key:1", activate=True)


def test_the_versions_of_a_template_have_a_bound_that_its_removal_lifts(store, monkeypatch):
    monkeypatch.setattr("adapters.templates.store.MAX_VERSIONS", 2)
    store.create("acme", "visit", definition("1"), "key:1")
    store.publish("acme", "visit", definition("2"), "key:1", activate=True)
    with pytest.raises(TooMany):
        store.publish("acme", "visit", definition("3"), "key:1", activate=True)
    store.remove("acme", "visit", "key:1")
    assert store.create("acme", "visit", definition("3"), "key:1").active == 3


def test_to_look_at_a_template_is_not_to_read_all_that_its_versions_say(store, monkeypatch):
    store.create("acme", "visit", definition("0", ("en", "da")), "key:1")
    for number in range(1, 10):
        store.publish("acme", "visit", definition(f"{number}"), "key:1", activate=False)
    decoded: list[bytes] = []
    decode = msgspec.json.Decoder(Definition).decode

    def counted(source: bytes) -> Definition:
        decoded.append(source)
        return decode(source)

    monkeypatch.setattr("adapters.templates.store._decode", counted)
    found = store.get("acme", "visit")
    assert len(decoded) == 1
    assert found.definition == definition("0", ("en", "da"))
    lines = [(line.version, line.languages) for line in found.versions]
    assert lines == [*((number, ("en",)) for number in range(10, 1, -1)), (1, ("en", "da"))]
    decoded.clear()
    store.publish("acme", "visit", definition("last"), "key:1", activate=True)
    assert len(decoded) <= 1
