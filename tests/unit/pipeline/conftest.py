"""Drafts to send through layers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from domain.mode import Mode
from domain.ports import Principal
from domain.tenancy import EVERYTHING, Tenant
from handlers.api.body import parse_message
from handlers.pipeline.draft import Draft

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
MESSAGE = {"to": {"sms": "+4520123456"}, "content": {"text": "Your table is ready."}}

MakeDraft = Callable[..., Draft]


@pytest.fixture
def draft() -> MakeDraft:
    """A draft of a plain message but for `fields`, by a tenant with `settings`."""

    def make(
        settings: dict[str, Any] | None = None,
        *,
        message_id: str = "msg_1",
        now: datetime = NOW,
        mode: Mode = Mode.LIVE,
        tenant: str = "acme",
        **fields: Any,
    ) -> Draft:
        raw = msgspec.json.encode(MESSAGE | fields)
        return Draft(
            id=message_id,
            principal=Principal(tenant, "key", EVERYTHING, mode),
            tenant=msgspec.convert({"id": tenant, **(settings or {})}, Tenant),
            raw=raw,
            body=parse_message(raw),
            now=now,
        )

    return make
