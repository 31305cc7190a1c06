"""One vector, played: a fresh guest, its answers, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from msgspec import UNSET

from adapters.wasm.contract import Answer, HttpPort, SendResult
from adapters.wasm.manifest import Manifest
from adapters.wasm.runtime import AdapterFailed, Instance, Program, drive
from adapters.wasm.runtime.drive import Exchange
from adapters.wasm.runtime.imports import Call, HostLinker
from adapters.wasm.runtime.view import View
from adapters.wasm.testing.exchange import Script, unlike
from adapters.wasm.testing.vectors import INPUTS, RESULTS, Vector
from adapters.wasm.verdict import hold_to_truth

TENANT: Final = "test"

_DECODERS: Final = {
    call: msgspec.json.Decoder(Answer[result])  # type: ignore[valid-type]
    for call, result in RESULTS.items()
}


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a vector: it passed when `faults` is empty. `log` is what the adapter wrote
    to the log, `level: text`."""

    vector: Vector
    faults: tuple[str, ...]
    log: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the adapter did what the vector says."""
        return not self.faults


@dataclass(slots=True)
class _Sink:
    lines: list[str] = field(default_factory=list)

    def log(self, tenant: str, adapter: str, level: str, message: str) -> None:
        self.lines.append(f"{level}: {message}")

    def metric(self, tenant: str, adapter: str, name: str, value: float) -> None:
        pass


async def play(vector: Vector, manifest: Manifest, program: Program, linker: HostLinker) -> Result:
    """Give a new instance what the vector gives, and compare."""
    sink = _Sink()
    faults = await _faults(vector, manifest, program, linker, sink)
    return Result(vector, tuple(faults), tuple(sink.lines))


async def _faults(
    vector: Vector, manifest: Manifest, program: Program, linker: HostLinker, sink: _Sink
) -> list[str]:
    given, expect = vector.given, vector.expect
    unknown = sorted(manifest.faults({**given.config, **dict.fromkeys(given.secrets, "…")}).items())
    if unknown and given.call != "on-configure":
        return [f"the configuration: {key} {fault}" for key, fault in unknown]
    script = Script(given, manifest)
    view = View.of(manifest, given.config, script.placeholders)
    call = Call(
        TENANT,
        manifest.name,
        limits=manifest.limits,
        sink=sink,
        configuration=view.texts,
        values=given.store,
    )
    try:
        instance = Instance(linker, program, manifest.limits, call)
        try:
            instance.configure(call, view.json)
        except AdapterFailed as error:
            if error.kind != "configure" or given.call != "on-configure":
                raise
            return _of_refusal(expect.refused, error.detail)
        if given.call == "on-configure":
            return _of_refusal(expect.refused, None)
        done = await _driven(vector, instance, call, script)
    except AdapterFailed as error:
        return [f"the adapter failed: {error}"]
    result = RESULTS[given.call]
    wanted = msgspec.to_builtins(msgspec.convert(expect.done, result))
    found = [*script.end(), *unlike("done", wanted, msgspec.to_builtins(done))]
    if expect.store is not UNSET:
        found += unlike("store", expect.store, call.changes)
    return found


async def _driven(vector: Vector, instance: Instance, call: Call, http: HttpPort) -> Any:
    given = vector.given
    payload = None
    if given.call in INPUTS:
        payload = msgspec.json.encode(msgspec.convert(given.input, INPUTS[given.call]))
    exchanges: list[Exchange] = []
    done = await drive(instance, call, given.call, payload, _DECODERS[given.call], http, exchanges)
    if isinstance(done, SendResult):
        hold_to_truth(done, exchanges)
    return done


def _of_refusal(expected: Any, said: str | None) -> list[str]:
    if expected is None:
        return [] if said is None else [f"the configuration was refused: {said}"]
    if said is None:
        return [f"the configuration was accepted; expected was: {expected}"]
    return [] if expected in said else [f"refused with: {said}; expected was: {expected}"]
