"""Keys of a data directory."""

from __future__ import annotations

import secrets

from adapters.key_file import make_once
from infra.settings import ConfigurationError, Settings


def reference_key(settings: Settings) -> bytes:
    """What our references at providers are signed with: 32 bytes, for as long as the directory
    lives. Raises ConfigurationError when the file holds something else."""
    return _key(settings, "references.key")


def hashing_key(settings: Settings) -> bytes:
    """What stands between a hash in the database and whoever tries out every number or code: 32
    bytes, the same on every machine that shares the database. Raises ConfigurationError."""
    return _key(settings, "hashing.key")


def _key(settings: Settings, name: str) -> bytes:
    path = settings.data_dir / name
    if not path.exists():
        make_once(path, secrets.token_hex(32))
    try:
        key = bytes.fromhex(path.read_text().strip())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ConfigurationError(f"{path} holds no key: remove it")
    return key
