"""Layer 2: whether the tenant may send."""

from __future__ import annotations

from typing import Final

from domain.tenancy import Tier
from domain.verdict import Verdict
from handlers.api.problems import Problem
from handlers.pipeline.draft import Draft

_NAME: Final = "tenant"
_PASSED: Final = {tier: Verdict(_NAME, detail=f"tier {tier.value}") for tier in Tier}


class TenantLayer:
    """Refuses what a suspended tenant sends. Its settings are for the layers behind."""

    name = _NAME

    def check(self, draft: Draft) -> Verdict:
        """Raises Problem `tenant_suspended`."""
        if draft.tenant.suspended:
            raise Problem("tenant_suspended")
        return _PASSED[draft.tenant.tier]
