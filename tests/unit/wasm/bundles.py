"""Adapters to upload: a component that does as little as the contract allows, and zips of it."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import wasmtime

from adapters.wasm.installed import Health, Installed
from adapters.wasm.runtime.faults import AdapterFailed
from adapters.wasm.store.management import Bundle
from adapters.wasm.upload.archive import bundle_of

SETTINGS = {
    "account": {"type": "string", "description": "Whose account.", "required": True},
    "token": {
        "type": "string",
        "description": "The account's secret.",
        "required": True,
        "secret": True,
    },
    "region": {"type": "string", "description": "Where.", "pattern": "[a-z]{2}[0-9]"},
    "retries": {"type": "integer", "description": "How often.", "default": 3},
}
CONFIGURED = {"account": "AC1", "token": "hush-hush-hush"}


def manifest(version: str = "1.0.0", **changes: Any) -> dict[str, Any]:
    return {
        "name": "acme",
        "version": version,
        "contract": "1.0.0",
        "summary": "Messages through Acme.",
        "channels": ["sms"],
        "hosts": ["api.acme.example"],
        "configuration": SETTINGS,
        **changes,
    }


@cache
def component() -> bytes:
    """A component that keeps to the contract."""
    return assembled((Path(__file__).parent / "well.wat").read_text())


def assembled(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def bundle(version: str = "1.0.0", content: bytes | None = None, **changes: Any) -> Bundle:
    """A checked bundle; each content has a digest of its own."""
    text = json.dumps(manifest(version, **changes)).encode()
    module = component() if content is None else b"\0asm" + content
    digest = hashlib.sha256(text + module).hexdigest()
    return bundle_of({"manifest.json": text, "adapter.wasm": module}, digest)


def zipped(files: dict[str, bytes] | None = None, version: str = "1.0.0", **changes: Any) -> bytes:
    """A zip of a manifest and a component, with `files` over it; None leaves one out."""
    given: dict[str, bytes | None] = {
        "manifest.json": json.dumps(manifest(version, **changes)).encode(),
        "adapter.wasm": component(),
        **(files or {}),
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in given.items():
            if content is not None:
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return made.getvalue()


@dataclass
class FakeTrial:
    """Tries adapters as it is told to: `says` fails on-configure in those words, `ill` is what the
    health check says. It remembers what it tried, and whether the component was there."""

    says: str | None = None
    ill: str | None = None
    kind: str = "configure"
    tried: list[Installed] = field(default_factory=list)
    components: list[bytes] = field(default_factory=list)

    async def configure(self, installed: Installed) -> None:
        self.tried.append(installed)
        self.components.append(installed.component.read_bytes())
        if self.says is not None:
            raise AdapterFailed(self.kind, self.says)

    async def check(self, installed: Installed) -> Health:
        return Health(at=datetime.now(UTC), ok=self.ill is None, sick=False, detail=self.ill)
