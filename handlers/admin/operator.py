"""Who may use the admin API: whoever holds the operator's key."""

from __future__ import annotations

import hmac

from domain.ports import Principal


class OperatorKey:
    """A KeyRing of one key, compared in constant time."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def authenticate(self, presented: str) -> Principal | None:
        """See `domain.ports.KeyRing`."""
        if hmac.compare_digest(presented.encode(), self._key):
            return Principal(tenant="", key_id="operator")
        return None
