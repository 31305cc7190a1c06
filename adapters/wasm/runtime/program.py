"""A compiled component that keeps to the contract: it imports and exports what the WIT says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import wasmtime
from wasmtime import component as wc
from wasmtime.component import ExportIndex, String

from adapters.wasm.runtime.engine import Engine
from adapters.wasm.runtime.faults import AdapterFailed

HOST: Final = "hermes:adapter/host@1.0.0"
PLUGIN: Final = "hermes:adapter/plugin@1.0.0"

IMPORTS: Final[dict[str, str]] = {
    "log": "(string, string)",
    "emit-metric": "(string, f64)",
    "get-config": "(string) -> option<string>",
    "store-get": "(string) -> option<string>",
    "store-set": "(string, string) -> result<_, string>",
}
EXPORTS: Final[dict[str, str]] = {
    "on-configure": "(string) -> result<_, string>",
    "on-message": "(string) -> string",
    "on-delivery-report": "(string) -> string",
    "on-health-check": "() -> string",
    "on-http-response": "(string) -> string",
}
"""The functions of the WIT, as `_signature` writes them.

Compared octet by octet: the binding converts values by the component's types, not by ours, and an
argument that it cannot convert raises within a host call, where nothing may be raised.
"""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a component wants and offers: `interface` or `interface#function`, sorted."""

    imports: tuple[str, ...]
    exports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A component that can be instantiated. `digest` is the SHA-256 of its octets, in hex."""

    component: wc.Component
    digest: str
    functions: Mapping[str, ExportIndex]


def compile_component(engine: Engine, content: bytes) -> wc.Component:
    """Compile, which takes seconds. Raises AdapterFailed("component")."""
    if content[:4] != b"\0asm":
        # What is no WASM would be read as its text form.
        raise AdapterFailed("component", "it is no WebAssembly")
    try:
        return wc.Component(engine.wasm, content)
    except wasmtime.WasmtimeError as error:
        raise AdapterFailed("component", _said(error)) from None


def check(engine: Engine, component: wc.Component, digest: str) -> Program:
    """Hold a component against the contract. Raises AdapterFailed("imports" or "exports")."""
    _check_imports(_functions(component.type.imports(engine.wasm), engine))
    _check_exports(_functions(component.type.exports(engine.wasm), engine))
    plugin = component.get_export_index(PLUGIN)
    functions = {name: component.get_export_index(name, plugin) for name in EXPORTS}
    return Program(
        component, digest, {name: index for name, index in functions.items() if index is not None}
    )


def inspect(component: Path, engine: Engine | None = None) -> Inspection:
    """What a component's file imports and exports, whether or not it may.

    Compiles it, which takes seconds. Raises AdapterFailed("component").
    """
    own = engine or Engine()
    try:
        compiled = compile_component(own, component.read_bytes())
        found = compiled.type
        return Inspection(
            _names(_functions(found.imports(own.wasm), own)),
            _names(_functions(found.exports(own.wasm), own)),
        )
    finally:
        if engine is None:
            own.close()


def _check_imports(wanted: Mapping[str, Mapping[str, str] | str]) -> None:
    for interface, functions in wanted.items():
        if interface != HOST or isinstance(functions, str):
            raise AdapterFailed("imports", f"it imports {interface}; there is nothing but {HOST}")
        for name, signature in functions.items():
            if name not in IMPORTS:
                raise AdapterFailed("imports", f"{HOST} has no {name}")
            if signature != IMPORTS[name]:
                raise AdapterFailed("imports", f"{name} is {IMPORTS[name]}, not {signature}")


def _check_exports(offered: Mapping[str, Mapping[str, str] | str]) -> None:
    functions = offered.get(PLUGIN)
    if functions is None or isinstance(functions, str):
        raise AdapterFailed("exports", f"it does not export {PLUGIN}")
    for name, signature in EXPORTS.items():
        if name not in functions:
            raise AdapterFailed("exports", f"{PLUGIN} has no {name}")
        if functions[name] != signature:
            raise AdapterFailed("exports", f"{name} is {signature}, not {functions[name]}")


def _functions(externs: Mapping[str, Any], engine: Engine) -> dict[str, Mapping[str, str] | str]:
    """By name: an interface's functions with their signatures, or what else it is."""
    found: dict[str, Mapping[str, str] | str] = {}
    for name, extern in externs.items():
        item = extern.ty
        if isinstance(item, wc.ComponentInstanceType):
            inner = item.exports(engine.wasm)
            found[name] = {key: _signature(each.ty) for key, each in inner.items()}
        else:
            found[name] = _signature(item)
    return found


def _names(functions: Mapping[str, Mapping[str, str] | str]) -> tuple[str, ...]:
    names: list[str] = []
    for interface, inner in functions.items():
        names += (
            [interface] if isinstance(inner, str) else [f"{interface}#{name}" for name in inner]
        )
    return tuple(sorted(names))


def _signature(item: object) -> str:
    if not isinstance(item, wc.FuncType):
        return type(item).__name__
    parameters = ", ".join(_type(each) for _, each in item.params)
    result = item.result
    return f"({parameters})" + ("" if result is None else f" -> {_type(result)}")


def _type(value: wc.ValType | None) -> str:
    match value:
        case None:
            return "_"
        case String():
            return "string"
        case wc.F64():
            return "f64"
        case wc.OptionType():
            return f"option<{_type(value.payload)}>"
        case wc.ResultType():
            return f"result<{_type(value.ok)}, {_type(value.err)}>"
        case _:
            return type(value).__name__


def _said(error: wasmtime.WasmtimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:400]
