"""Which layer each refusal is of, for those who watch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from handlers.api.problems import PROBLEMS

Refused = Callable[[str, str], None]
"""Hears of every problem that the API answers, and of every message of a batch that is refused: the
tenant, "" where nobody is known, and the code."""

_MESSAGES: Final = {
    "auth": ("missing_key", "invalid_key", "scope_missing", "live_key_required"),
    "tenant": ("tenant_suspended", "tier_required"),
    "schema": (
        *("body_required", "malformed_json", "body_too_large", "unsupported_media_type"),
        *("validation_failed", "invalid_idempotency_key"),
    ),
    "content": ("content_refused",),
    "compliance": ("compliance_refused", "unsubscribing_impossible"),
    "dnc": ("recipient_suppressed",),
    "rate": ("rate_limited", "recipient_capped", "quota_exceeded"),
    "dedup": ("duplicate_content", "idempotency_key_reused", "request_in_progress"),
    "billing": ("account_empty",),
    "pressure": ("queue_full", "carriers_down"),
    "engine": ("engine_unavailable",),
    "store": ("store_unavailable",),
}
OTHER: Final = "api"
"""What concerns no message."""

LAYERS: Final = {
    **dict.fromkeys(PROBLEMS, OTHER),
    **{code: layer for layer, codes in _MESSAGES.items() for code in codes},
}
"""By the code of a problem."""


def uncounted(tenant: str, code: str) -> None:
    """The `Refused` where nobody counts."""


def counted(count: Callable[[str, str, str], None]) -> Refused:
    """The `Refused` that tells `count` the tenant, the layer and the code."""

    def refused(tenant: str, code: str) -> None:
        count(tenant, LAYERS.get(code, OTHER), code)

    return refused
