"""The configuration as a guest sees it: a secret that is set is a placeholder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from adapters.wasm.manifest import Manifest


@dataclass(frozen=True, slots=True)
class View:
    """`json` is what on-configure is given, `texts` what get-config answers."""

    json: str
    texts: Mapping[str, str]

    @classmethod
    def of(
        cls, manifest: Manifest, values: Mapping[str, Any], placeholders: Mapping[str, str]
    ) -> View:
        """With the manifest's defaults for what is not set; `placeholders` by the secret's name."""
        seen: dict[str, Any] = {**manifest.defaults(), **values, **placeholders}
        return cls(
            msgspec.json.encode(seen).decode(), {name: _text(value) for name, value in seen.items()}
        )


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
