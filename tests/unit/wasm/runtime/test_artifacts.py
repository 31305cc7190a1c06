"""Compiled components on disk: used when they are whole, made anew when anything is off."""

import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from adapters.wasm.manifest import Limits
from adapters.wasm.runtime import Artifacts, Instance, artifacts, link
from adapters.wasm.upload.inspection import Inspector
from tests.unit.wasm.components import component
from tests.unit.wasm.puppet import new_call


@pytest.fixture
def guest(tmp_path):
    path = tmp_path / "guest.wasm"
    path.write_bytes(component())
    return path


@pytest.fixture
def compilations(monkeypatch):
    """How often something was compiled, in [0]."""
    count = [0]
    real = artifacts.compile_component

    def counted(*given):
        count[0] += 1
        return real(*given)

    monkeypatch.setattr(artifacts, "compile_component", counted)
    return count


def test_a_component_is_compiled_once(engine, tmp_path, guest, compilations, sink):
    cache = tmp_path / "cache"
    kept = Artifacts(cache, engine)
    assert kept.load(guest) is kept.load(guest)
    # A process that starts later finds it, whatever its file is called.
    elsewhere = guest.rename(tmp_path / "other.wasm")
    program = Artifacts(cache, engine).load(elsewhere)
    assert compilations == [1]
    Instance(link(engine), program, Limits(), new_call(sink))


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "a flipped bit": _flip,
    "a file cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "an empty file": lambda path: path.write_bytes(b""),
    "no file": lambda path: path.unlink(),
    "no digest": lambda path: path.with_suffix(".sha256").unlink(),
    "another digest": lambda path: path.with_suffix(".sha256").write_text("0" * 64),
    "a digest that is no text": lambda path: path.with_suffix(".sha256").write_bytes(b"\xff\xfe"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_is_compiled_anew(engine, tmp_path, guest, compilations, damage):
    cache = tmp_path / "cache"
    first = Artifacts(cache, engine)
    path = first.path(first.load(guest).digest)
    damage(path)
    Artifacts(cache, engine).load(guest)
    assert compilations == [2]
    Artifacts(cache, engine).load(guest)
    assert compilations == [2]


def test_what_wasmtime_refuses_is_compiled_anew(engine, tmp_path, guest, compilations):
    cache = tmp_path / "cache"
    first = Artifacts(cache, engine)
    path = first.path(first.load(guest).digest)
    path.write_bytes(b"from another version")
    path.with_suffix(".sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    Artifacts(cache, engine).load(guest)
    assert compilations == [2]


def test_another_machine_or_other_settings_have_artefacts_of_their_own(
    engine, tmp_path, guest, compilations, monkeypatch
):
    cache = tmp_path / "cache"
    Artifacts(cache, engine).load(guest)
    artifacts._machine.cache_clear()
    monkeypatch.setattr(artifacts, "SETTINGS", (*artifacts.SETTINGS, ("wasm_simd", False)))
    Artifacts(cache, engine).load(guest)
    artifacts._machine.cache_clear()
    assert compilations == [2]
    assert len(list(cache.glob("*.cwasm"))) == 2


def test_a_directory_that_others_may_write_to_is_not_used(engine, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    with pytest.raises(PermissionError):
        Artifacts(cache, engine)


def test_a_directory_of_its_own_is_for_nobody_else(engine, tmp_path):
    Artifacts(tmp_path / "a" / "cache", engine)
    assert (tmp_path / "a" / "cache").stat().st_mode & 0o777 == 0o700


def test_without_room_to_keep_it_a_component_works_all_the_same(engine, tmp_path, guest):
    cache = tmp_path / "cache"
    kept = Artifacts(cache, engine)
    cache.rmdir()
    assert kept.load(guest).functions


def test_a_slow_compilation_is_waited_for_by_those_who_want_it_alone(
    engine, tmp_path, guest, monkeypatch
):
    slow = guest.read_bytes()
    begun, go, compiled = threading.Event(), threading.Event(), []
    real = artifacts.compile_component

    def compile_component(engine, content):
        compiled.append(content)
        if content == slow:
            begun.set()
            assert go.wait(10)
        return real(engine, content)

    monkeypatch.setattr(artifacts, "compile_component", compile_component)
    kept = Artifacts(tmp_path / "cache", engine)
    other = tmp_path / "other.wasm"
    other.write_bytes(component(pages=2))
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(kept.load, guest) for _ in range(2)]
        try:
            assert begun.wait(10)
            assert kept.load(other).functions
            assert not any(each.done() for each in waiting)
        finally:
            go.set()
        assert waiting[0].result() is waiting[1].result()
    assert compiled.count(slow) == 1
    # What nobody makes any more is not kept account of.
    assert not kept._making


async def test_what_an_upload_was_compiled_to_is_not_compiled_again(
    engine, tmp_path, guest, compilations
):
    kept = Artifacts(tmp_path / "cache", engine)
    digest = hashlib.sha256(guest.read_bytes()).hexdigest()
    looked_at = guest.rename(tmp_path / digest)
    await Inspector(kept.adopt)(looked_at)
    kept.load(looked_at)
    assert compilations == [0]


HOUR, DAY = 3_600, 86_400
NEEDED, UNKNOWN, OWN = "a" * 64, "b" * 64, artifacts._machine()
# file, seconds since it was written or loaded, whether it stays
FILES = [
    (f"{NEEDED}-{OWN}.cwasm", 99 * DAY, True),
    (f"{NEEDED}-{OWN}.sha256", 99 * DAY, True),
    (f"{NEEDED}-{'0' * 16}.cwasm", 6 * DAY, True),
    (f"{NEEDED}-{'0' * 16}.cwasm", 8 * DAY, False),
    (f"{NEEDED}-{'0' * 16}.sha256", 8 * DAY, False),
    # It may be an upload's that is being tried.
    (f"{UNKNOWN}-{OWN}.cwasm", HOUR / 2, True),
    (f"{UNKNOWN}-{OWN}.cwasm", 2 * HOUR, False),
    (f"{UNKNOWN}-{OWN}.sha256", 2 * HOUR, False),
    (".new-abc", HOUR / 2, True),
    (".new-abc", 2 * HOUR, False),
    ("README", 99 * DAY, True),
]


@pytest.mark.parametrize(("name", "age", "stays"), FILES)
def test_what_nobody_needs_is_swept_away(engine, tmp_path, name, age, stays):
    kept = Artifacts(tmp_path / "cache", engine)
    file = tmp_path / "cache" / name
    file.touch()
    os.utime(file, (time.time() - age,) * 2)
    assert kept.sweep({NEEDED}) == (not stays)
    assert file.exists() == stays


def test_a_guest_outlives_its_artefact(engine, tmp_path, guest, sink):
    kept = Artifacts(tmp_path / "cache", engine)
    program = kept.load(guest)
    path = kept.path(program.digest)
    os.utime(path, (0, 0))
    kept.sweep(set())
    assert not path.exists()
    Instance(link(engine), program, Limits(), new_call(sink))
    assert kept.load(guest) is program
