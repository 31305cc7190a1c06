"""Names to addresses, as requests of adapters ask for them."""

from __future__ import annotations

from collections.abc import Callable

from adapters.egress import ForbiddenAddress, refuse_private
from adapters.resolution import HostNotFound, Lookup, system_lookup
from adapters.resolution import Resolver as Names
from adapters.wasm.egress.faults import HttpFault


class Resolver:
    """Resolves hosts once for all who ask meanwhile. `check` raises ForbiddenAddress."""

    def __init__(
        self, lookup: Lookup = system_lookup, check: Callable[[str], None] = refuse_private
    ) -> None:
        self._names = Names(lookup, check)

    async def addresses(self, host: str, port: int, tenant: str = "") -> tuple[str, ...]:
        """The addresses to connect to, each of them checked. Raises HttpFault dns or forbidden.

        It is the `tenant` who waits when too many of its hosts are being looked up.
        """
        try:
            return await self._names.addresses(host, port, tenant)
        except HostNotFound as error:
            raise HttpFault("dns", str(error)) from error
        except ForbiddenAddress as error:
            raise HttpFault("forbidden", str(error)) from error

    async def close(self) -> None:
        """Give up what is being asked."""
        await self._names.close()
