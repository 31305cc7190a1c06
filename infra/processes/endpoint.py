"""The handlers endpoint: the Message object and the stateless delivery services.

Several may run beside each other on one machine: they share the message log's file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import restate

from adapters.callbacks.sender import CallbackSender
from adapters.email.relay import Relay, RelayAccount
from adapters.store.attempts import SqliteAttemptJournal
from adapters.store.message_log import SqliteMessageLog
from adapters.wasm.choice import ByPriority
from handlers.callbacks import create_status_callback
from handlers.delivery.adapter import create_adapter_delivery
from handlers.delivery.email import create_email_delivery
from handlers.inbound import create_inbound
from handlers.reports import create_adapter_reports
from infra.processes.adapters import adapters, metrics
from infra.processes.serving import AsgiApp, beside, main
from infra.settings import Email, Settings, inbound_routes
from virtual_objects.message import create_message_object


@asynccontextmanager
async def endpoint(settings: Settings) -> AsyncIterator[AsgiApp]:
    """The endpoint's application with everything that it uses."""
    log = SqliteMessageLog(settings.message_log)
    attempts = SqliteAttemptJournal(settings.message_log)
    callbacks = CallbackSender(
        settings.message_log, allow_private=settings.callbacks.allow_private_addresses
    )
    try:
        async with adapters(settings, checks=True) as ours:
            app = restate.app(
                [
                    create_message_object(
                        log,
                        state_retention=timedelta(seconds=settings.state_retention),
                        journal_retention=timedelta(seconds=settings.journal_retention),
                    ),
                    create_email_delivery(Relay(relay_account(settings.email)), attempts),
                    create_adapter_delivery(ours.host, ByPriority(ours.registry), attempts),
                    create_adapter_reports(
                        ours.host, ours.reference_key, inbound_routes(settings.inbound)
                    ),
                    create_status_callback(callbacks),
                    create_inbound(callbacks),
                ],
                identity_keys=list(settings.restate.identity_keys),
            )
            yield beside(app, metrics(settings, ours))
    finally:
        await callbacks.close()
        await attempts.close()
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
