"""Bundles as zips: what is refused, and by which check."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import struct
import time
import warnings
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.wasm.upload import archive
from adapters.wasm.upload.archive import MAX_UNPACKED, MAX_ZIP, pack, read_bundle
from adapters.wasm.upload.refusal import Refused
from tests.unit.wasm.bundles import component, manifest, zipped


def written(*entries):
    """A zip of entries: a name or a ZipInfo, and its content."""
    made = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        warnings.simplefilter("ignore")  # of a name that is there twice
        for entry, content in entries:
            file.writestr(entry, content)
    return made.getvalue()


def entry(name, **facts):
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    for fact, value in facts.items():
        setattr(info, fact, value)
    return info


GOOD = (("manifest.json", json.dumps(manifest())), ("adapter.wasm", component()))
MANIFEST, COMPONENT = GOOD


def named(name):
    return written(*GOOD, (name, "x"))


def changed(data, position, bit=1):
    """The same with a bit turned over."""
    return data[:position] + bytes([data[position] ^ bit]) + data[position + 1 :]


def encrypted():
    data = written(*GOOD)
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data = changed(data, data.index(magic) + offset)
    return data


def lying_about_its_size():
    """The directory says that the component is small, and it is not."""
    data = written(MANIFEST, ("adapter.wasm", component() + os.urandom(100_000)))
    at = data.rindex(b"PK\x01\x02") + 24
    return data[:at] + struct.pack("<I", 10) + data[at + 4 :]


def with_manifest(**changes):
    return zipped({}, **changes)


REFUSED = {
    "no zip": (b"hello", "archive", "not a sound zip"),
    "nothing at all": (b"", "archive", "not a sound zip"),
    "cut off": (written(*GOOD)[:-30], "archive", "not a sound zip"),
    "an empty zip": (written(), "archive", "manifest.json is missing"),
    "no component": (written(MANIFEST), "archive", "adapter.wasm is missing"),
    "no manifest": (written(COMPONENT), "archive", "manifest.json is missing"),
    "another file": (named("adapter.js"), "archive", "adapter.js"),
    "another case": (named("readme.md"), "archive", "readme.md"),
    "a directory": (named("src/"), "archive", "src/"),
    "a way out": (named("../adapter.wasm"), "archive", "../adapter.wasm"),
    "another way out": (named("..\\adapter.wasm"), "archive", "does not belong"),
    "an absolute name": (named("/etc/passwd"), "archive", "/etc/passwd"),
    "a name that goes on after a NUL": (
        written(*GOOD).replace(b"manifest.json", b"README.md\0evi"), "archive", "does not belong",
    ),
    "the same name twice": (
        written(*GOOD, MANIFEST), "archive", "manifest.json is there twice",
    ),
    "a symbolic link": (
        written(*GOOD, (entry("README.md", external_attr=(stat.S_IFLNK | 0o777) << 16), "/etc")),
        "archive", "no ordinary file",
    ),
    "a device": (
        written(*GOOD, (entry("README.md", external_attr=(stat.S_IFCHR | 0o666) << 16), "")),
        "archive", "no ordinary file",
    ),
    "encrypted": (encrypted(), "archive", "is encrypted"),
    "another compression": (
        written(*GOOD, (entry("README.md", compress_type=zipfile.ZIP_LZMA), "x")),
        "archive", "neither stored nor deflated",
    ),
    "a wrong checksum": (
        changed(written(*GOOD), written(*GOOD).index(b"PK\x01\x02") + 16), "archive",
        "not a sound zip",
    ),
    "a lie about its size": (lying_about_its_size(), "archive", "not a sound zip"),
    "a zip that is too large": (b"PK" + bytes(MAX_ZIP), "archive", "8,388,608 bytes"),
    "a bomb": (
        written(MANIFEST, ("adapter.wasm", component() + bytes(MAX_UNPACKED - 5000))),
        "archive", "100 times",
    ),
    "too much, unpacked": (
        written(MANIFEST, ("adapter.wasm", component() + os.urandom(1000) * 2 * 8400)),
        "archive", "100 times",
    ),
    "a manifest that is too large": (
        written(("manifest.json", os.urandom(65_537)), COMPONENT), "archive", "65,536 bytes",
    ),
    "a manual that is too large": (
        written(*GOOD, ("README.md", os.urandom(262_145))), "archive", "262,144 bytes",
    ),
    "a manifest that is no JSON": (
        written(("manifest.json", "{"), COMPONENT), "manifest", "truncated",
    ),
    "a manifest in another encoding": (
        written(("manifest.json", b"\xff\xfe"), COMPONENT), "manifest", "",
    ),
    "an unknown key": (with_manifest(extra=1), "manifest", "extra"),
    "another contract": (with_manifest(contract="2.0.0"), "manifest", "/contract"),
    "no version of that kind": (with_manifest(version="one"), "manifest", "/version"),
    "a bad name": (with_manifest(name="../acme"), "manifest", "/name"),
    "an address as a host": (with_manifest(hosts=["127.0.0.1"]), "manifest", "/hosts/0"),
    "too much memory": (with_manifest(limits={"memory_mb": 4096}), "manifest", "memory_mb"),
    "text instead of a component": (
        written(MANIFEST, ("adapter.wasm", "(component)")), "compile", "no WebAssembly",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_bundle_that_is_refused(case):
    data, check, finding = REFUSED[case]
    started = time.process_time()
    with pytest.raises(Refused) as refused:
        read_bundle(data)
    assert (refused.value.check, finding in refused.value.finding) == (check, True), refused.value
    assert len(refused.value.finding) < 500
    assert time.process_time() - started < 2


def test_a_bundle_that_is_taken():
    bundle = read_bundle(written(*GOOD, ("README.md", "# Acme")))
    assert bundle.manifest.name == "acme"
    assert bundle.component == component()
    assert bundle.readme == b"# Acme"
    assert read_bundle(written(*GOOD)).readme is None


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_the_bytes_are_they_are_a_bundle_or_refused(data):
    whole = bytearray(written(*GOOD))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 40))
    with contextlib.suppress(Refused):
        assert read_bundle(bytes(whole[: len(whole) - cut])).manifest.contract == "1.0.0"


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps(manifest()))
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "adapter.wasm").write_bytes(component())
    (tmp_path / "adapter.js").write_text("// not part of it")
    return tmp_path


def test_what_is_packed_is_the_same_each_time_and_taken(directory, monkeypatch):
    (directory / "README.md").write_text("# Acme")
    first = pack(directory)
    os.utime(directory / "manifest.json", (1, 1))
    (directory / "README.md").chmod(0o600)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert pack(directory) == first
    bundle = read_bundle(first)
    assert (bundle.manifest.name, bundle.readme) == ("acme", b"# Acme")
    with zipfile.ZipFile(io.BytesIO(first)) as packed:
        assert packed.namelist() == [archive.MANIFEST, archive.COMPONENT, archive.README]


def test_what_would_be_refused_is_not_packed(directory):
    (directory / "manifest.json").write_text(json.dumps(manifest(contract="2.0.0")))
    with pytest.raises(Refused):
        pack(directory)
    (directory / "dist" / "adapter.wasm").unlink()
    with pytest.raises(FileNotFoundError):
        pack(directory)
