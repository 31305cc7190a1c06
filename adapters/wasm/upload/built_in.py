"""The adapters that come with Hermes, as bundles."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Final

from adapters.wasm.store.management import Bundle
from adapters.wasm.upload.archive import COMPONENT, MANIFEST, README, bundle_of

PROVIDERS: Final = Path(__file__).parents[1] / "providers"
logger = logging.getLogger(__name__)


def built_in(directory: Path = PROVIDERS) -> list[Bundle]:
    """The adapters in the folders of a directory; one that is not built is left out, and logged.

    Raises Refused for one that would be refused as an upload, before it is run.
    """
    found = []
    for manifest in sorted(directory.glob(f"*/{MANIFEST}")):
        folder = manifest.parent
        component = folder / "dist" / COMPONENT
        if not component.is_file():
            logger.warning("the adapter %s is not built: it is not offered", folder.name)
            continue
        files = {MANIFEST: manifest.read_bytes(), COMPONENT: component.read_bytes()}
        if (folder / README).is_file():
            files[README] = (folder / README).read_bytes()
        found.append(bundle_of(files, _digest(files)))
    return found


def _digest(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
