"""Components in WebAssembly's text form: what breaks the contract in one way each."""

from wasmtime import wat2wasm

HOST = "hermes:adapter/host@1.0.0"
PLUGIN = "hermes:adapter/plugin@1.0.0"

_EXPORTS = {
    "on-configure": '(param "config" string) (result (result (error string)))',
    "on-message": '(param "message" string) (result string)',
    "on-delivery-report": '(param "report" string) (result string)',
    "on-health-check": "(result string)",
    "on-http-response": '(param "response" string) (result string)',
}


def wants(interface: str, function: str, signature: str) -> bytes:
    """A component that imports one function, and has every export."""
    imported = f'(import "{interface}" (instance (export "{function}" (func {signature}))))'
    return component(imported=imported)


def component(
    *, imported: str = "", without: str = "", changed: dict[str, str] | None = None, pages: int = 1
) -> bytes:
    """A component with all exports but one, or some of another type. They trap when called."""
    signatures = {**_EXPORTS, **(changed or {})}
    signatures.pop(without, None)
    functions, names = [], []
    for number, (name, signature) in enumerate(signatures.items()):
        core = "one" if "param" in signature else "none"
        functions.append(
            f"(func $f{number} {signature}"
            f" (canon lift (core func ${core}) (memory (core memory $memory))"
            " (realloc (core func $realloc))))"
        )
        names.append(f'(export "{name}" (func $f{number}))')
    return bytes(
        wat2wasm(
            f"""(component {imported}
            (core module $M
              (memory (export "memory") {pages})
              (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
              (func (export "one") (param i32 i32) (result i32) unreachable)
              (func (export "none") (result i32) unreachable))
            (core instance $m (instantiate $M))
            (alias core export $m "memory" (core memory $memory))
            (alias core export $m "realloc" (core func $realloc))
            (alias core export $m "one" (core func $one))
            (alias core export $m "none" (core func $none))
            {" ".join(functions)}
            (instance $plugin {" ".join(names)})
            (export "{PLUGIN}" (instance $plugin)))"""
        )
    )


GREEDY = component(pages=128)
"""It wants 8 MB before it has begun."""
