"""The documents that are made from the code: `python -m infra.documents` writes them anew."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from handlers.api import codes
from infra import tenant_settings

ROOT: Final = Path(__file__).parents[1]
DOCUMENTS: Final[dict[str, Callable[[], str]]] = {
    "docs/codes.md": codes.markdown,
    "docs/tenant-settings.md": tenant_settings.markdown,
}
"""By their path in the repository."""


def write() -> list[str]:
    """Write those that have changed, and give their paths."""
    changed = []
    for path, make in DOCUMENTS.items():
        file, text = ROOT / path, make()
        if not file.exists() or file.read_text() != text:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
            changed.append(path)
    return changed


if __name__ == "__main__":
    sys.stdout.writelines(f"{path}\n" for path in write())
