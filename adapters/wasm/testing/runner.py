"""All vectors of an adapter's directory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from adapters.wasm.manifest import Manifest, read_manifest
from adapters.wasm.runtime import Artifacts, Engine
from adapters.wasm.runtime.imports import link
from adapters.wasm.sdk.build import build
from adapters.wasm.testing.play import Result, play
from adapters.wasm.testing.vectors import read_vectors

PATIENCE_MS: Final = 250
"""The least that a guest is given between two answers while its vectors are played: a machine that
builds and tests is busy, and what is slow there says nothing of the adapter. `fuel` holds as it
stands, and is the same everywhere."""


@dataclass(frozen=True, slots=True)
class Run:
    """What became of an adapter's vectors."""

    manifest: Manifest
    results: tuple[Result, ...]

    @property
    def failed(self) -> tuple[Result, ...]:
        """Those that the adapter did not pass."""
        return tuple(result for result in self.results if not result.ok)

    @property
    def ok(self) -> bool:
        """Whether it passed all of them."""
        return not self.failed

    def lines(self) -> list[str]:
        """The run as a table to print: a line for each file, then what went wrong."""
        files = list(dict.fromkeys(result.vector.origin for result in self.results))
        width = max(len(name) for name in files)
        shown = []
        for name in files:
            results = [result for result in self.results if result.vector.origin == name]
            failed = sum(not result.ok for result in results)
            verdict = f"{failed} failed" if failed else "ok"
            shown.append(f"{name:<{width}}  {len(results):>4} vectors  {verdict}")
        for result in self.failed:
            shown += ["", f"FAILED {result.vector.origin}: {result.vector.name}"]
            shown += [f"  {fault}" for fault in result.faults]
            shown += [f"  log {line}" for line in result.log]
        return shown


def run(directory: Path) -> Run:
    """Build the adapter in `directory` and play all of its vectors, each with a fresh guest.

    Not on an event loop: it takes seconds. Raises BuildFailed, ManifestError, VectorsError,
    AdapterFailed (what was built keeps not to the contract) or OSError.
    """
    manifest = read_manifest((directory / "manifest.json").read_bytes())
    vectors = read_vectors(directory)
    component = build(directory)
    engine = Engine()
    try:
        compiled = component.parent / "compiled"
        program = Artifacts(compiled, engine).load(component)
        _tidy(compiled, program.digest)
        linker = link(engine)

        async def every() -> tuple[Result, ...]:
            patient = _patient(manifest)
            return tuple([await play(vector, patient, program, linker) for vector in vectors])

        return Run(manifest, asyncio.run(every()))
    finally:
        engine.close()


def _patient(manifest: Manifest) -> Manifest:
    limits = msgspec.structs.replace(
        manifest.limits, deadline_ms=max(manifest.limits.deadline_ms, PATIENCE_MS)
    )
    return msgspec.structs.replace(manifest, limits=limits)


def _tidy(compiled: Path, digest: str) -> None:
    """Remove what earlier builds were compiled to: 10 MB each."""
    for path in compiled.glob("[0-9a-f]*-*"):
        if not path.name.startswith(digest):
            path.unlink(missing_ok=True)
