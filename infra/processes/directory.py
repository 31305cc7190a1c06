"""The admin API of an API process: tenants and what is set for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from handlers.api.suppression_requests import SuppressionDesk
from infra.operator_key import operator_key
from infra.processes.retention import erasing
from infra.processes.routing import ApiRouting
from infra.processes.serving import AsgiApp, beside
from infra.settings import Settings

PATHS: Final = ("/admin/", "/metrics")
"""What is the operator's of an API process."""


def directory(
    settings: Settings, metrics: Awaitable[AsgiApp], desk: SuppressionDesk, routing: ApiRouting
) -> asyncio.Future[AsgiApp]:
    """The application, with the process's `/metrics`; imported while the process serves
    already. A resource that needs more than the database joins `stored`'s here."""

    def make() -> AsgiApp:
        from handlers.admin.directory import DirectoryApi, stored
        from handlers.admin.retention import retention
        from handlers.admin.routes import routes
        from handlers.admin.suppressions import suppressions

        resources = [
            *stored(settings.database),
            suppressions(desk),
            retention(settings.database, erasing(settings)),
            routes(routing.store, routing.explainer, routing.tenants),
        ]
        return DirectoryApi(resources, operator_key(settings)).app

    async def both() -> AsgiApp:
        return beside(await asyncio.to_thread(make), metrics)

    return asyncio.ensure_future(both())
