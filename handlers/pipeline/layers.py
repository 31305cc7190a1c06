"""Which layers there are, and in which order."""

from __future__ import annotations

from domain.compliance.senders import Senders
from domain.ports import OperatorLookup, ProviderChoice
from handlers.pipeline.auth import Auth
from handlers.pipeline.compliance import Compliance, SenderSource
from handlers.pipeline.content import ContentLayer
from handlers.pipeline.draft import Layer
from handlers.pipeline.enrich import Enrich
from handlers.pipeline.pipeline import Pipeline
from handlers.pipeline.schema import Schema
from handlers.pipeline.templates import NoTemplates, Templated, Templates
from handlers.pipeline.tenant import TenantLayer


class NoSenders:
    """Where nobody has registered a sender."""

    value = Senders()


class NoOperators:
    """Where nobody can be asked which network serves a number."""

    def operator_of(self, number: str) -> str | None:
        """See `domain.ports.OperatorLookup`."""
        return None


def in_order(
    *,
    providers: ProviderChoice,
    private_callbacks: bool = False,
    marketing_mail: bool = True,
    senders: SenderSource | None = None,
    operators: OperatorLookup | None = None,
    templates: Templates | None = None,
    dnc: Layer | None = None,
    rate: Layer | None = None,
    dedup: Layer | None = None,
) -> Pipeline:
    """The pipeline of these layers; those that are left out are not there, for tests.

    A template is rendered before the schema is checked, which sees what it made.
    """
    layers = (
        Auth(),
        TenantLayer(),
        Templated(
            Schema(providers, private_callbacks=private_callbacks), templates or NoTemplates()
        ),
        ContentLayer(),
        Compliance(senders or NoSenders(), marketing_mail=marketing_mail),
        dnc,
        rate,
        dedup,
        Enrich(operators or NoOperators()),
    )
    return Pipeline([layer for layer in layers if layer is not None])
