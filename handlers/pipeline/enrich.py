"""The ninth layer: what is known about the recipient, for the router and for the account."""

from __future__ import annotations

from typing import Final

import msgspec

from domain.enrichment import LOCALES, Recipient
from domain.mode import Mode
from domain.numbering.number import facts
from domain.ports import OperatorLookup
from domain.verdict import Verdict
from handlers.pipeline.draft import Draft

_PASS: Final = Verdict("enrich")
_NUMBERED: Final = ("sms", "whatsapp")
"""Channels whose address is a telephone number, the one that counts first."""


class Enrich:
    """Adds country, kind of number, operator and locale. Never waits: an operator that is not in
    memory is looked up meanwhile, for the next message."""

    name: Final = "enrich"

    def __init__(self, operators: OperatorLookup) -> None:
        self._operators = operators

    def check(self, draft: Draft) -> Verdict:
        """Always passes."""
        order = draft.order
        locale = draft.locale
        for channel in _NUMBERED:
            number = order.to.get(channel)
            if number is not None:
                break
        else:
            if locale is not None:
                draft.order = msgspec.structs.replace(order, recipient=Recipient(locale=locale))
            return _PASS
        country, kind = facts(number)
        if locale is None and country is not None:
            locale = LOCALES.get(country)
        # A look-up costs money, and a test message goes nowhere.
        live = draft.principal.mode is Mode.LIVE
        operator = self._operators.operator_of(number) if live else None
        recipient = Recipient(country, kind, operator, locale)
        draft.order = msgspec.structs.replace(order, recipient=recipient)
        return _PASS
