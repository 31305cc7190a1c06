"""How an adapter is refused: which check, and what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

from adapters.wasm.manifest_faults import ManifestFault

Check = Literal[
    "archive",  # the zip: size, names, what is in it
    "manifest",  # manifest.json
    "name",  # it is another adapter's
    "version",  # its number is taken
    "quota",  # the tenant keeps too much already
    "imports",  # the component wants more than hermes:adapter/host
    "exports",  # the component lacks a function of the contract
    "compile",  # the component is none, or takes too much to compile
    "configure",  # on-configure refused the configuration, or failed
    "health",  # on-health-check said no, or failed
]
CHECKS: Final[frozenset[str]] = frozenset(get_args(Check))


MISSING: Final = "is missing"
UNKNOWN: Final = "is unknown"
"""What Manifest.faults says of keys; everything else is about a value."""


class Refused(Exception):
    """An adapter, or its use, is refused; nothing has changed. `finding` is for its author, and
    `faults` are those of its manifest."""

    def __init__(self, check: Check, finding: str, faults: Sequence[ManifestFault] = ()) -> None:
        super().__init__(check, finding)
        self.check = check
        self.finding = finding
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return f"{self.check}: {self.finding}"


class NotConfigured(Exception):
    """The configuration is not what a version needs. `faults` has for each key that is wrong the
    rest of a sentence that begins with it."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        super().__init__(dict(faults))
        self.faults = dict(faults)
