"""The handlers endpoint: the Message object and the stateless delivery services.

Several may run beside each other on one machine: they share the message log's file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import restate

from adapters.billing.ledger import Ledger
from adapters.billing.lists import PriceLists
from adapters.callbacks.outbox import Outbox
from adapters.callbacks.sender import CallbackSender
from adapters.email.relay import PROVIDER, Relay, RelayAccount
from adapters.routing.delivery_quality import DeliveryQuality
from adapters.store.attempts import SqliteAttemptJournal
from adapters.store.message_log import SqliteMessageLog
from adapters.store.sections import Sections
from adapters.suppression.automatic import AutomaticSuppression
from adapters.telemetry.billing import LedgerTelemetry
from adapters.wasm.choice import ByPriority
from adapters.wasm.store.unread import UnreadNotes
from handlers.callbacks import create_callback_endpoint, create_status_callback
from handlers.delivery.adapter import create_adapter_delivery
from handlers.delivery.charging import begun_before
from handlers.delivery.email import create_email_delivery
from handlers.delivery.sandbox import create_sandbox_delivery
from handlers.inbound import create_inbound
from handlers.reports import create_adapter_reports
from infra.processes.adapters import adapters, metrics
from infra.processes.billing import charging, settling
from infra.processes.callbacks import telling
from infra.processes.retention import places
from infra.processes.routing import closed_adapters, shared_quality
from infra.processes.serving import AsgiApp, beside, main
from infra.processes.suppression import (
    opt_outs,
    second_look,
    suppression_store,
    unsubscribe_links,
)
from infra.settings import Email, Settings, inbound_routes
from virtual_objects.message import create_message_object


@asynccontextmanager
async def endpoint(settings: Settings) -> AsyncIterator[AsgiApp]:
    """The endpoint's application with everything that it uses."""
    sections = Sections(settings.database)
    ledger = LedgerTelemetry()
    attempts = SqliteAttemptJournal(settings.database)
    callbacks = CallbackSender(
        settings.database, allow_private=settings.callbacks.allow_private_addresses
    )
    try:
        async with (
            adapters(settings, checks=True) as ours,
            telling(settings, sections, callbacks) as told,
            message_log(settings, told.outbox, ledger) as log,
            charging(settings, PriceLists(sections), ledger) as charges,
            settling(settings),
            shared_quality(settings) as quality,
            second_look(settings) as looks_again,
        ):
            closed = closed_adapters(sections)
            begun = begun_before(attempts)
            counts = DeliveryQuality(quality)
            bounces = AutomaticSuppression(suppression_store(settings), log)
            app = restate.app(
                [
                    create_message_object(
                        log,
                        looks_again,
                        journal_retention=timedelta(seconds=settings.journal_retention),
                    ),
                    create_email_delivery(
                        Relay(relay_account(settings.email), unsubscribe_links(settings).of),
                        attempts,
                        bounces.around(
                            "email",
                            counts.around(
                                "email",
                                charges.around("email", lambda request: (PROVIDER,), begun),
                            ),
                        ),
                    ),
                    create_sandbox_delivery(),
                    create_adapter_delivery(
                        ours.host,
                        ByPriority(ours.registry),
                        attempts,
                        bounces.around(
                            None,
                            counts.around(
                                None,
                                charges.around(
                                    None, lambda request: (request.provider or "",), begun
                                ),
                            ),
                        ),
                        closed,
                    ),
                    create_adapter_reports(
                        ours.host,
                        ours.reference_key,
                        inbound_routes(settings.inbound),
                        counts.reported,
                        bounces.reported,
                        unread=UnreadNotes(settings.database),
                    ),
                    create_callback_endpoint(told.pump),
                    create_status_callback(told.events),
                    create_inbound(callbacks, opt_outs(settings)),
                ],
                identity_keys=list(settings.restate.identity_keys),
            )
            yield beside(app, metrics(settings, ours, more=(told.telemetry, ledger)))
    finally:
        await callbacks.close()
        await attempts.close()
        sections.close()


@asynccontextmanager
async def message_log(
    settings: Settings, outbox: Outbox, ledger: LedgerTelemetry
) -> AsyncIterator[SqliteMessageLog]:
    """The log, with what tenants' endpoints are told of it and what is entered in the ledger."""
    entering = Ledger(entered=ledger.entered)
    log = SqliteMessageLog(settings.database, places(settings), outbox, entering)
    try:
        yield log
    finally:
        await log.close()


def relay_account(email: Email) -> RelayAccount:
    """The relay's account from the settings."""
    return RelayAccount(
        host=email.host,
        port=email.port,
        sender=email.sender,
        domain=email.domain,
        tls=email.tls,
        ca_file=email.ca_file,
        username=email.username,
        password=None if email.password is None else email.password.get_secret_value(),
        timeout=email.timeout,
    )


if __name__ == "__main__":
    main("endpoint", endpoint, lambda settings: settings.endpoint, http="2")
