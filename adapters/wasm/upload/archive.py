"""A bundle as a zip: made the same each time, and read without trust."""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
from pathlib import Path
from typing import Final

from adapters.wasm.manifest import ManifestError, read_manifest
from adapters.wasm.store.management import Bundle
from adapters.wasm.upload.refusal import Refused

MAX_ZIP: Final = 8 * 1024 * 1024
MAX_UNPACKED: Final = 16 * 1024 * 1024
MAX_RATIO: Final = 100
"""Bytes unpacked for each byte of the zip."""

MANIFEST: Final = "manifest.json"
COMPONENT: Final = "adapter.wasm"
README: Final = "README.md"
_LARGEST: Final = {MANIFEST: 65_536, COMPONENT: MAX_UNPACKED, README: 262_144}
"""Each name that a bundle may hold, with its bytes unpacked at most."""
_MAGIC: Final = b"\0asm"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_ENCRYPTED: Final = 0x1


def read_bundle(data: bytes) -> Bundle:
    """What an uploaded zip holds. Raises Refused; whatever the bytes are, nothing else."""
    if len(data) > MAX_ZIP:
        raise Refused("archive", f"the zip has more than {MAX_ZIP:,} bytes")
    try:
        files = _unpacked(data)
    except Refused:
        raise
    except Exception as error:
        # zipfile and zlib raise a dozen kinds about a broken file, not all of them documented.
        raise Refused("archive", f"it is not a sound zip: {error}") from None
    return bundle_of(files, hashlib.sha256(data).hexdigest())


def bundle_of(files: dict[str, bytes], digest: str) -> Bundle:
    """A bundle of files by name. Raises Refused."""
    try:
        manifest = read_manifest(files[MANIFEST])
    except ManifestError as error:
        finding = "; ".join(map(str, error.faults))
        raise Refused("manifest", finding, error.faults) from None
    component = files[COMPONENT]
    if not component.startswith(_MAGIC):
        raise Refused("compile", f"{COMPONENT} is no WebAssembly")
    return Bundle(
        digest=digest,
        manifest=manifest,
        manifest_json=files[MANIFEST],
        component=component,
        component_digest=hashlib.sha256(component).hexdigest(),
        readme=files.get(README),
    )


def pack(directory: Path) -> bytes:
    """The bundle of an adapter's directory, built before: the same bytes for the same files.

    Raises Refused for what an upload would be refused for without being run, and
    FileNotFoundError when manifest.json or dist/adapter.wasm is missing.
    """
    files = {
        MANIFEST: (directory / MANIFEST).read_bytes(),
        COMPONENT: (directory / "dist" / COMPONENT).read_bytes(),
    }
    readme = directory / README
    if readme.is_file():
        files[README] = readme.read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 6)
    data = packed.getvalue()
    read_bundle(data)
    return data


def _unpacked(data: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        for entry in entries:
            _check_entry(entry)
        names = [entry.filename for entry in entries]
        for name in names:
            if names.count(name) > 1:
                raise Refused("archive", f"{name} is there twice")
        for name in (MANIFEST, COMPONENT):
            if name not in names:
                raise Refused("archive", f"{name} is missing")
        left = min(MAX_UNPACKED, MAX_RATIO * len(data))
        for entry in entries:
            most = min(_LARGEST[entry.filename], left)
            with archive.open(entry) as file:
                content = file.read(most + 1)
            if len(content) > most:
                raise Refused("archive", _too_large(entry.filename, left))
            left -= len(content)
            files[entry.filename] = content
    return files


def _check_entry(entry: zipfile.ZipInfo) -> None:
    # zipfile cuts a name at a NUL; what stood behind it is in the original.
    name = entry.orig_filename
    if name not in _LARGEST or entry.filename != name:
        raise Refused(
            "archive",
            f"{name[:100]!r} does not belong there: only {MANIFEST}, {COMPONENT} and {README} do",
        )
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise Refused("archive", f"{name} is no ordinary file")
    if entry.flag_bits & _ENCRYPTED:
        raise Refused("archive", f"{name} is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refused("archive", f"{name} is neither stored nor deflated")


def _too_large(name: str, left: int) -> str:
    if _LARGEST[name] <= left:
        return f"{name} has more than {_LARGEST[name]:,} bytes"
    return (
        f"unpacked it has more than {MAX_UNPACKED:,} bytes, or more than {MAX_RATIO} times those "
        "of the zip"
    )
