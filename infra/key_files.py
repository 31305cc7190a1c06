"""Keys that are made up once for a data directory, by whichever process comes first."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from infra.settings import ConfigurationError, Settings


def make_once(path: Path, text: str) -> None:
    """Write the file, readable by its owner only; one that is there already is left alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{text}\n")
        # A link appears whole, or not at all where somebody was faster.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def reference_key(settings: Settings) -> bytes:
    """What our references at providers are signed with: 32 bytes, for as long as the directory
    lives. Raises ConfigurationError when the file holds something else."""
    path = settings.data_dir / "references.key"
    make_once(path, secrets.token_hex(32))
    try:
        key = bytes.fromhex(path.read_text().strip())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ConfigurationError(f"{path} holds no key: remove it")
    return key
