"""Keys of a data directory."""

from __future__ import annotations

import secrets

from adapters.key_file import make_once
from infra.settings import ConfigurationError, Settings


def reference_key(settings: Settings) -> bytes:
    """What our references at providers are signed with: 32 bytes, for as long as the directory
    lives. Raises ConfigurationError when the file holds something else."""
    path = settings.data_dir / "references.key"
    if not path.exists():
        make_once(path, secrets.token_hex(32))
    try:
        key = bytes.fromhex(path.read_text().strip())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ConfigurationError(f"{path} holds no key: remove it")
    return key
