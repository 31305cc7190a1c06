"""From an author's JavaScript to a component."""

import subprocess
import sys

import pytest

from adapters.wasm.runtime import inspect
from adapters.wasm.sdk import build as module
from adapters.wasm.sdk.build import BuildFailed, build

ADAPTER = """
import { adapter, accepted } from 'hermes-adapter';
import { LEVEL } from './inner/levels.js';
import names from './names.json';
export const plugin = adapter({ onMessage: () => accepted(LEVEL, { provider_ids: [names.one] }) });
"""
SOURCES = {
    "adapter.js": ADAPTER,
    "inner/levels.js": "export const LEVEL = 'sent';",
    "names.json": '{"one": "1"}',
    "manifest.json": "{}",
    "README.md": "…",
}


@pytest.fixture
def adapter(tmp_path):
    for name, text in SOURCES.items():
        path = tmp_path / "acme" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "acme"


def test_a_component_of_several_files(adapter):
    component = build(adapter)
    assert component == adapter / "dist" / "adapter.wasm"
    assert {each.split("#")[0] for each in inspect(component).imports} == {
        "hermes:adapter/host@1.0.0"
    }


@pytest.fixture
def compilations(monkeypatch):
    """The builds that were made; none is."""
    made = []

    def compiled(staged, sources):
        made.append(sources)
        (staged / "adapter.wasm").write_bytes(b"component")
        return staged / "adapter.wasm"

    monkeypatch.setattr(module, "_compile", compiled)
    return made


def test_what_is_built_is_not_built_again(adapter, compilations):
    for _ in range(3):
        build(adapter)
    (adapter / "README.md").write_text("something else")
    (adapter / "vectors").mkdir()
    (adapter / "vectors" / "sent.json").write_text("[]")
    build(adapter)
    assert len(compilations) == 1


CHANGES = {
    "another script": lambda path: (path / "adapter.js").write_text("//"),
    "another file's script": lambda path: (path / "inner" / "levels.js").write_text("//"),
    "other data": lambda path: (path / "names.json").write_text("{}"),
    "one more file": lambda path: (path / "more.js").write_text(""),
    "one file less": lambda path: (path / "names.json").unlink(),
    "another name": lambda path: (path / "names.json").rename(path / "nomen.json"),
    "no component": lambda path: (path / "dist" / "adapter.wasm").unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_has_changed_is_built_again(adapter, compilations, change):
    build(adapter)
    change(adapter)
    build(adapter)
    assert len(compilations) == 2


def test_another_sdk_builds_everything_again(adapter, compilations, monkeypatch, tmp_path):
    build(adapter)
    other = tmp_path / "hermes.js"
    other.write_text("export const adapter = (parts) => parts;")
    monkeypatch.setattr(module, "_SDK", other)
    build(adapter)
    assert len(compilations) == 2


FAILURES = [
    ("export const plugin = {{", "adapter.js:1"),
    ("import x from 'left-pad'; export const plugin = x;", "left-pad"),
    ("import x from './missing.js'; export const plugin = x;", "missing.js"),
    ("throw new Error('at once'); export const plugin = {};", "at once"),
]


@pytest.mark.parametrize(("text", "words"), FAILURES)
def test_the_compiler_says_what_is_wrong(adapter, text, words):
    (adapter / "adapter.js").write_text(text)
    with pytest.raises(BuildFailed, match=words):
        build(adapter)
    assert not (adapter / "dist" / "adapter.wasm").exists()


def test_a_failed_build_leaves_the_last_one(adapter, compilations, monkeypatch):
    component = build(adapter)
    monkeypatch.setattr(module, "_compile", _failing)
    (adapter / "adapter.js").write_text("{{")
    with pytest.raises(BuildFailed):
        build(adapter)
    assert component.read_bytes() == b"component"


def _failing(staged, sources):
    raise BuildFailed("no")


def test_a_directory_without_an_adapter(tmp_path):
    with pytest.raises(BuildFailed, match=r"no adapter\.js"):
        build(tmp_path)


def test_without_the_compiler_it_says_what_to_do(adapter, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_COMPILER", tmp_path / "nothing")
    with pytest.raises(BuildFailed, match="make setup"):
        build(adapter)


def test_the_command_names_each_component_and_each_failure(adapter, tmp_path):
    (tmp_path / "empty").mkdir()
    ended = subprocess.run(
        [sys.executable, "-m", "adapters.wasm.sdk.build", adapter, tmp_path / "empty"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stdout == f"{adapter}/dist/adapter.wasm\n"
    assert "has no adapter.js" in ended.stderr
