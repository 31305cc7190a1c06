"""What can go wrong with a guest: a closed set, told apart by what the runtime says."""

from __future__ import annotations

from typing import Final, Literal

Fault = Literal[
    "trap",  # it broke down
    "fuel",  # it did more work than one call may
    "deadline",  # it took longer than one call may
    "memory",  # it wanted more memory than it may have
    "malformed",  # what it returned is not what the contract says
    "lying",  # what it returned contradicts what the provider answered
    "requests",  # it asks for requests without end
    "imports",  # it wants what the host does not offer
    "exports",  # it lacks what the host calls
    "component",  # it is no component, or one that cannot be compiled
    "configure",  # on-configure refused the configuration; the detail is the guest's own words
]

_DETAIL: Final = 500

_TRAPS: Final[tuple[tuple[str, Fault], ...]] = (
    # The texts are wasmtime's; tests/unit/wasm/runtime holds one guest for each.
    ("all fuel consumed", "fuel"),
    ("wasm trap: interrupt", "deadline"),
    ("exceeds memory limits", "memory"),
    ("memory limit", "memory"),
    ("resource limit exceeded", "memory"),
)
_OUT_OF_MEMORY: Final = ("out of memory", "allocation failed", "memory allocation of")
"""What guests say of it themselves, before they trap: QuickJS, AssemblyScript, Rust."""


class AdapterFailed(Exception):
    """A guest failed. `kind` says in which way, `detail` what was found, in a sentence or less.

    The detail may quote the guest, which is a tenant's: show it to that tenant alone.
    """

    def __init__(self, kind: Fault, detail: str) -> None:
        super().__init__(f"{kind}: {detail}"[: _DETAIL + 20])
        self.kind = kind
        self.detail = detail[:_DETAIL]


def trapped(said: str, last_words: str | None) -> AdapterFailed:
    """The failure that a trap is. `said` is wasmtime's text, `last_words` the guest's last line of
    level `error`, which tells more than "unreachable"."""
    cause = _cause(said)
    for text, kind in _TRAPS:
        if text in said:
            return AdapterFailed(kind, cause)
    if last_words is not None:
        if any(text in last_words for text in _OUT_OF_MEMORY):
            return AdapterFailed("memory", last_words)
        return AdapterFailed("trap", last_words)
    return AdapterFailed("trap", cause)


def _cause(said: str) -> str:
    """The last of wasmtime's lines, without the trace through the guest's functions."""
    lines = [line.strip() for line in said.splitlines()]
    causes = [line for line in lines if line.startswith("wasm trap:")]
    return (causes or [line for line in lines if line] or ["it ended"])[-1].removeprefix(
        "wasm trap: "
    )
