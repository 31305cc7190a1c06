"""The suppression lists as the processes have them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from adapters.store.sections import Sections
from adapters.store.tenants import UnknownTenant, get_tenant
from adapters.suppression.hashing import Hasher
from adapters.suppression.index import ListLoader
from adapters.suppression.jobs import ImportJobs
from adapters.suppression.links import UnsubscribeLinks
from adapters.suppression.second_look import StoredSecondLook
from adapters.suppression.store import SECTION, SuppressionStore, WrongKey
from domain.optout import OptOutRules
from handlers.api.suppression_requests import SuppressionDesk
from handlers.opt_outs import OptOuts
from infra.key_files import hashing_key
from infra.settings import ConfigurationError, Settings

logger = logging.getLogger(__name__)

_TIDIED_EVERY: Final = 3600.0


def images(settings: Settings) -> Path:
    """Where this machine's images are."""
    return settings.data_dir / "suppression"


def suppressing(settings: Settings, sections: Sections) -> SuppressionDesk:
    """The lists in memory, and what changes them. Waits for this machine's image, if it has none
    yet, and takes up imports that broke off. Raises ConfigurationError where the lists were made
    with another key."""
    store = suppression_store(settings)
    loader = ListLoader(settings.database, images(settings), store.hasher)
    try:
        lists = sections.register(SECTION, loader)
    except WrongKey:
        raise _wrong_key(settings) from None
    jobs = ImportJobs(settings.database, images(settings), hashing_key(settings))
    jobs.recover()
    if not settings.unsubscribing_works:
        logger.warning(
            "public_url is no https address: unsubscribe links in mails would lead nowhere, so %s",
            "do not send marketing by e-mail to anybody but yourself"
            if settings.callbacks.allow_private_addresses
            else "marketing by e-mail is refused",
        )
    return SuppressionDesk(store, jobs, lists, unsubscribe_links(settings))


@asynccontextmanager
async def tidying(desk: SuppressionDesk) -> AsyncIterator[None]:
    """Files of imports that nobody carries out any more are removed, at once and every hour."""

    async def tidy() -> None:
        while True:
            try:
                await asyncio.to_thread(desk.jobs.tidy)
            except Exception:
                logger.exception("the files of imports were not looked through")
            await asyncio.sleep(_TIDIED_EVERY)

    task = asyncio.create_task(tidy())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def second_look(settings: Settings) -> AsyncIterator[StoredSecondLook]:
    """What asks again before a message is sent later than at once. Raises ConfigurationError where
    the lists were made with another key."""
    try:
        look = StoredSecondLook(settings.database, Hasher(hashing_key(settings)))
    except WrongKey:
        raise _wrong_key(settings) from None
    try:
        yield look
    finally:
        await look.close()


def unsubscribe_links(settings: Settings) -> UnsubscribeLinks:
    """What makes one-click links, and reads them."""
    return UnsubscribeLinks(Hasher(hashing_key(settings)), settings.webhooks_url)


def opt_outs(settings: Settings) -> OptOuts:
    """What obeys STOP, START and HELP."""

    def rules(tenant: str) -> OptOutRules:
        try:
            return get_tenant(settings.database, tenant).tenant.opt_out
        except UnknownTenant:
            return OptOutRules()

    return OptOuts(suppression_store(settings), rules)


def suppression_store(settings: Settings) -> SuppressionStore:
    """What changes the lists."""
    return SuppressionStore(settings.database, Hasher(hashing_key(settings)))


def _wrong_key(settings: Settings) -> ConfigurationError:
    return ConfigurationError(
        f"{settings.data_dir}/hashing.key is not the key that the suppression lists in the "
        "database were made with: copy it from a machine where they work. Without it nobody "
        "on them would be recognised"
    )
