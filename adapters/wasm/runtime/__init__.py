"""Guests and what holds them: the engine, compiled components, instances, and the calls."""

from adapters.wasm.runtime.artifacts import Artifacts
from adapters.wasm.runtime.drive import Exchange, drive
from adapters.wasm.runtime.engine import Engine
from adapters.wasm.runtime.faults import AdapterFailed, Fault
from adapters.wasm.runtime.imports import Call, GuestSink, link
from adapters.wasm.runtime.instance import Instance
from adapters.wasm.runtime.program import Inspection, Program, inspect

__all__ = [
    "AdapterFailed",
    "Artifacts",
    "Call",
    "Engine",
    "Exchange",
    "Fault",
    "GuestSink",
    "Inspection",
    "Instance",
    "Program",
    "drive",
    "inspect",
    "link",
]
