"""What a new adapter begins with."""

from __future__ import annotations

import re
from pathlib import Path

from adapters.wasm import sdk
from adapters.wasm.testing import run
from infra.cli.adapter_folder import create


def test_a_new_adapter_works_at_once(tmp_path):
    directory = tmp_path / "acme"
    files = create("acme", directory)
    names = {str(path.relative_to(directory)) for path in files}
    assert names >= {"manifest.json", "adapter.js", "codes.json", "README.md"}
    assert "hermes-adapter.d.ts" in names
    played = run(directory)
    assert not [result.faults for result in played.failed]
    assert played.manifest.name == "acme"
    assert "my-adapter" not in "".join(path.read_text() for path in files)


def test_what_an_earlier_build_was_compiled_to_goes(tmp_path):
    directory = tmp_path / "acme"
    create("acme", directory)
    run(directory)
    old = set((directory / "dist" / "compiled").iterdir())
    script = directory / "adapter.js"
    script.write_text(script.read_text().replace("/v1", "/v2"))
    assert not run(directory).ok
    new = set((directory / "dist" / "compiled").iterdir())
    assert len(new) == len(old)
    assert not new & old


def test_every_function_of_the_sdk_has_its_type():
    here = Path(sdk.__file__).parent
    functions = re.compile(r"^ *export (?:const|function\*?) (\w+)", re.MULTILINE)
    offered = set(functions.findall((here / "hermes.js").read_text()))
    assert "sendHttp" in offered
    assert set(functions.findall((here / "hermes.d.ts").read_text())) == offered
