"""The third layer: from a request of the right shape to an order, everything in it checked."""

from __future__ import annotations

from typing import Final

from domain.mode import Mode
from domain.ports import ProviderChoice
from domain.verdict import Verdict
from handlers.api import orders
from handlers.pipeline.draft import Draft
from handlers.pipeline.sandbox import SandboxChoice

_PASS: Final = Verdict("schema")


class Schema:
    """Makes the order: addresses, plan, content and times, with all defaults filled in."""

    name: Final = "schema"

    def __init__(self, providers: ProviderChoice, *, private_callbacks: bool) -> None:
        self._providers = {Mode.LIVE: providers, Mode.TEST: SandboxChoice(providers)}
        self._private_callbacks = private_callbacks

    def check(self, draft: Draft) -> Verdict:
        """Raises Problem `validation_failed` with all faults together."""
        draft.order = orders.make_order(
            draft.body,
            tenant=draft.tenant.id,
            now=draft.now,
            fingerprint=draft.fingerprint,
            trace_id=draft.trace_id,
            private_callbacks=self._private_callbacks,
            providers=self._providers[draft.principal.mode],
            mode=draft.principal.mode,
            senders=draft.tenant.defaults.senders,
            rendered=draft.rendered,
        )
        return _PASS
