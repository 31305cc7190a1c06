"""The adapters that come with Hermes."""

from __future__ import annotations

import json
import logging

import pytest

from adapters.wasm.upload.built_in import PROVIDERS, built_in
from adapters.wasm.upload.refusal import Refused
from tests.unit.wasm.bundles import component, manifest


def made(directory, name, **changes):
    folder = directory / name
    (folder / "dist").mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest(name=name, **changes)))
    (folder / "dist" / "adapter.wasm").write_bytes(component())
    return folder


def test_each_folder_is_a_bundle_of_its_own(tmp_path):
    (made(tmp_path, "one") / "README.md").write_text("# One")
    made(tmp_path, "two")
    one, two = built_in(tmp_path)
    assert (one.manifest.name, one.readme, two.readme) == ("one", b"# One", None)
    assert one.digest != two.digest
    assert [bundle.digest for bundle in built_in(tmp_path)] == [one.digest, two.digest]


def test_what_is_not_built_is_left_out_and_told(tmp_path, caplog):
    made(tmp_path, "one")
    (made(tmp_path, "two") / "dist" / "adapter.wasm").unlink()
    with caplog.at_level(logging.WARNING):
        assert [bundle.manifest.name for bundle in built_in(tmp_path)] == ["one"]
    assert "two" in caplog.text


def test_what_is_wrong_is_told(tmp_path):
    made(tmp_path, "one", contract="2.0.0")
    with pytest.raises(Refused, match="contract"):
        built_in(tmp_path)


def test_there_is_a_place_for_them():
    assert PROVIDERS.is_dir()
