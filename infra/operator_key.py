"""The key of the admin API: the settings', or one that is made up once for a data directory."""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256
from pathlib import Path

from adapters.key_file import make_once
from infra.settings import ConfigurationError, Settings


def key_file(settings: Settings) -> Path:
    """Where a key that was made up lies, readable by its owner only."""
    return settings.data_dir / "operator.key"


def operator_key(settings: Settings) -> str:
    """The key. Made, when there is none, by whichever process comes first: all get the same.

    Raises ConfigurationError when the file holds no key.
    """
    known = known_operator_key(settings)
    if known is None:
        make_once(key_file(settings), f"hok_{secrets.token_urlsafe(32)}")
        known = known_operator_key(settings)
    if not known:
        raise ConfigurationError(f"{key_file(settings)} holds no key: remove it")
    return known


def door_key(settings: Settings) -> str:
    """What the cascade shows at the bind pools' door: derived from the operator's key, and good for
    nothing else. Raises ConfigurationError."""
    return hmac.new(operator_key(settings).encode(), b"delivery door", sha256).hexdigest()


def known_operator_key(settings: Settings) -> str | None:
    """The key, None when there is none yet."""
    if settings.admin.key is not None:
        return settings.admin.key.get_secret_value()
    try:
        return key_file(settings).read_text().strip()
    except FileNotFoundError:
        return None
