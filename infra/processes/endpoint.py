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
from adapters.restate.optimistic import optimistic
from adapters.routing.delivery_quality import DeliveryQuality
from adapters.smpp.door import PoolDoor
from adapters.store.attempts import SqliteAttemptJournal
from adapters.store.message_log import SqliteMessageLog
from adapters.store.sections import Sections
from adapters.suppression.automatic import AutomaticSuppression
from adapters.telemetry.billing import LedgerTelemetry
from adapters.under_way import UnderWay
from adapters.wasm.choice import ByPriority
from adapters.wasm.store.unread import UnreadNotes
from domain.delivery import delivery_service
from handlers.callbacks import create_callback_endpoint, create_status_callback
from handlers.delivery.adapter import create_adapter_delivery
from handlers.delivery.charging import begun_before
from handlers.delivery.direct import Direct
from handlers.delivery.email import create_email_delivery
from handlers.delivery.options import Attempts
from handlers.delivery.sandbox import create_sandbox_delivery
from handlers.inbound import create_inbound
from handlers.reports import create_adapter_reports
from infra.operator_key import door_key
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

_ENDS_LINGER = 0.030
"""Seconds for which the end of a message waits for others to be written with: nobody waits for
it."""

_LAST_ANSWERS = 2.5
"""Seconds for which an orderly stop waits for relays and providers that have not answered yet."""


@asynccontextmanager
async def endpoint(settings: Settings) -> AsyncIterator[AsgiApp]:
    """The endpoint's application with everything that it uses."""
    sections = Sections(settings.database)
    ledger = LedgerTelemetry()
    attempts = SqliteAttemptJournal(settings.database)
    callbacks = CallbackSender(
        settings.database, allow_private=settings.callbacks.allow_private_addresses
    )
    pools = PoolDoor(settings.pool_urls, door_key(settings))
    relay = Relay(relay_account(settings.email), unsubscribe_links(settings).of)
    under_way: Attempts = UnderWay()
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
            email = create_email_delivery(
                relay,
                attempts,
                bounces.around(
                    "email",
                    counts.around(
                        "email", charges.around("email", lambda request: (PROVIDER,), begun)
                    ),
                ),
                under_way,
            )
            by_adapter = create_adapter_delivery(
                ours.host,
                ByPriority(ours.registry),
                attempts,
                bounces.around(
                    None,
                    counts.around(
                        None,
                        charges.around(None, lambda request: (request.provider or "",), begun),
                    ),
                ),
                closed,
                under_way,
            )
            message = create_message_object(
                log,
                looks_again,
                Direct((email, by_adapter), {delivery_service("sms"): pools.deliver}),
                journal_retention=timedelta(seconds=settings.journal_retention),
            )
            app = restate.app(
                [
                    message,
                    email,
                    by_adapter,
                    create_sandbox_delivery(),
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
            app = optimistic(app, message, "send", settings.restate.identity_keys)
            try:
                yield beside(app, metrics(settings, ours, more=(told.telemetry, ledger)))
            finally:
                # Their outcomes would be unknown to the next process.
                await under_way.finished(_LAST_ANSWERS)
    finally:
        await callbacks.close()
        await pools.close()
        await relay.close()
        await attempts.close()
        sections.close()


@asynccontextmanager
async def message_log(
    settings: Settings, outbox: Outbox, ledger: LedgerTelemetry
) -> AsyncIterator[SqliteMessageLog]:
    """The log, with what tenants' endpoints are told of it and what is entered in the ledger."""
    entering = Ledger(entered=ledger.entered)
    log = SqliteMessageLog(
        settings.database, places(settings), outbox, entering, linger=_ENDS_LINGER
    )
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
        sessions=email.sessions,
    )


if __name__ == "__main__":
    main("endpoint", endpoint, lambda settings: settings.endpoint, http="2")
