"""What a component may import and has to export is seen before anything of it runs."""

import re

import pytest
from wasmtime import wat2wasm

from adapters.wasm.runtime import AdapterFailed, Artifacts, inspect
from adapters.wasm.runtime.program import EXPORTS, IMPORTS
from tests.unit.wasm.components import HOST, PLUGIN, component, wants

WORDS = " "
BYTES = '(param "a" (list u8))'

REFUSED = [
    # what, its octets, the failure's kind, words of its detail
    ("nothing", b"", "component", "no WebAssembly"),
    ("text", b"(component)", "component", "no WebAssembly"),
    ("half a component", component()[:200], "component", WORDS),
    ("a module", bytes(wat2wasm("(module)")), "component", WORDS),
    (
        "a file system",
        wants("wasi:filesystem/preopens@0.2.0", "get-directories", "(result u32)"),
        "imports",
        "wasi:filesystem",
    ),
    (
        "sockets",
        wants("wasi:sockets/tcp@0.2.0", "create", "(result u32)"),
        "imports",
        "wasi:sockets",
    ),
    (
        "a clock",
        wants("wasi:clocks/wall-clock@0.2.0", "now", "(result u64)"),
        "imports",
        "wasi:clocks",
    ),
    (
        "another version of the host",
        wants("hermes:adapter/host@2.0.0", "log", "(result u32)"),
        "imports",
        "host@2.0.0",
    ),
    ("a function that is not there", wants(HOST, "send-http", BYTES), "imports", "send-http"),
    ("octets for text", wants(HOST, "get-config", BYTES), "imports", "get-config is (string)"),
    (
        "a function with another result",
        wants(HOST, "store-get", '(param "key" string) (result string)'),
        "imports",
        "store-get is (string) -> option<string>, not (string) -> string",
    ),
    (
        "a bare function",
        component(imported='(import "log" (func (param "a" string)))'),
        "imports",
        "log",
    ),
    ("no exports", bytes(wat2wasm("(component)")), "exports", PLUGIN),
    *((f"no {name}", component(without=name), "exports", f"has no {name}") for name in EXPORTS),
    (
        "an export of another type",
        component(changed={"on-message": '(param "m" string) (result (list u8))'}),
        "exports",
        "on-message is (string) -> string, not (string) -> ListType",
    ),
]


@pytest.mark.parametrize(
    ("content", "kind", "words"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED]
)
def test_what_does_not_keep_to_the_contract_is_not_loaded(engine, tmp_path, content, kind, words):
    path = tmp_path / "guest.wasm"
    path.write_bytes(content)
    with pytest.raises(AdapterFailed, match=re.escape(words)) as failed:
        Artifacts(tmp_path / "cache", engine).load(path)
    assert failed.value.kind == kind


def test_what_keeps_to_it_is(engine, tmp_path):
    path = tmp_path / "guest.wasm"
    path.write_bytes(component())
    assert set(Artifacts(tmp_path / "cache", engine).load(path).functions) == set(EXPORTS)


def test_what_a_component_of_the_sdk_wants_and_offers(component):
    found = inspect(component)
    assert found.imports == tuple(sorted(f"{HOST}#{name}" for name in IMPORTS))
    assert set(found.exports) >= {f"{PLUGIN}#{name}" for name in EXPORTS}
