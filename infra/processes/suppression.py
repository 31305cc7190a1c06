"""The suppression lists as the processes have them."""

from __future__ import annotations

from pathlib import Path

from adapters.store.sections import Sections
from adapters.store.tenants import UnknownTenant, get_tenant
from adapters.suppression.hashing import Hasher
from adapters.suppression.index import ListLoader
from adapters.suppression.jobs import ImportJobs
from adapters.suppression.links import UnsubscribeLinks
from adapters.suppression.store import SECTION, SuppressionStore, WrongKey
from domain.optout import OptOutRules
from handlers.api.suppression_requests import SuppressionDesk
from handlers.opt_outs import OptOuts
from infra.key_files import hashing_key
from infra.settings import ConfigurationError, Settings


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
        raise ConfigurationError(
            f"{settings.data_dir}/hashing.key is not the key that the suppression lists in the "
            "database were made with: copy it from a machine where they work. Without it nobody "
            "on them would be recognised"
        ) from None
    jobs = ImportJobs(settings.database, images(settings), hashing_key(settings))
    jobs.recover()
    return SuppressionDesk(store, jobs, lists, unsubscribe_links(settings))


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
