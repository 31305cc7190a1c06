"""All carriers of one process, and which of them may carry a message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from adapters.smpp.carriers.carrier import Carrier, Order
from adapters.smpp.carriers.config import CarrierConfig
from adapters.smpp.carriers.outcomes import refusal
from adapters.smpp.protocol.session import OnDeliver
from domain.failures import Failure


class UnknownCarrier(LookupError):
    """There is no carrier of this name."""


class Mesh:
    """The carriers by name, in the order in which they were added. Made on a running event loop.

    `on_deliver` makes the listener for what a carrier of this name delivers.
    """

    def __init__(self, on_deliver: Callable[[str], OnDeliver]) -> None:
        self._on_deliver = on_deliver
        self._carriers: dict[str, Carrier] = {}
        self._changed = asyncio.Event()

    @property
    def carriers(self) -> tuple[Carrier, ...]:
        """Every carrier, in order."""
        return tuple(self._carriers.values())

    def get(self, name: str) -> Carrier:
        """A carrier by its name. Raises UnknownCarrier."""
        try:
            return self._carriers[name]
        except KeyError:
            raise UnknownCarrier(name) from None

    def failure(self, name: str, command_status: int) -> Failure:
        """What a status means of a carrier, which may have been removed since."""
        carrier = self._carriers.get(name)
        meaning = refusal(command_status) if carrier is None else carrier.means(command_status)
        return meaning.failure(command_status)

    def candidates(self, provider: str | None, destination: str) -> list[Carrier]:
        """The carriers that a message to this number may take, best first, whatever their state.

        A `provider` that is named is the only one. Otherwise the carriers whose longest matching
        prefix is longest come first, those without prefixes last; equals in the mesh's order.
        """
        if provider is not None:
            named = self._carriers.get(provider)
            return [named] if named is not None else []
        if len(self._carriers) == 1:
            (only,) = self._carriers.values()
            prefixes = only.config.prefixes
            return [only] if not prefixes or destination.lstrip("+").startswith(prefixes) else []
        number = destination.lstrip("+")
        ranked = [
            (length, carrier)
            for carrier in self._carriers.values()
            if (length := _matched(carrier.config.prefixes, number)) is not None
        ]
        ranked.sort(key=lambda pair: -pair[0])
        return [carrier for _, carrier in ranked]

    async def change(self, patience: float) -> bool:
        """Wait until a carrier's state changes; False when none did in time."""
        changed = self._changed
        try:
            async with asyncio.timeout(patience):
                await changed.wait()
        except TimeoutError:
            return False
        return True

    # What an operator does

    def add(self, config: CarrierConfig, order: Order = Order.ACTIVE) -> Carrier:
        """Add a carrier, which dials at once. Raises ValueError when the name is taken."""
        if config.name in self._carriers:
            raise ValueError(f"there is a carrier {config.name} already")
        carrier = Carrier(
            config, self._on_deliver(config.name), order=order, on_state=self._state_changed
        )
        self._carriers[config.name] = carrier
        return carrier

    async def remove(self, name: str) -> None:
        """Drain a carrier and forget it. Raises UnknownCarrier."""
        carrier = self.get(name)
        await carrier.drain()
        await carrier.close()
        self._carriers.pop(name, None)

    async def close(self) -> None:
        """Unbind from every carrier."""
        await asyncio.gather(*(carrier.close() for carrier in self._carriers.values()))

    def _state_changed(self, carrier: Carrier) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _matched(prefixes: tuple[str, ...], number: str) -> int | None:
    if not prefixes:
        return 0
    lengths = [len(prefix) for prefix in prefixes if number.startswith(prefix)]
    return max(lengths, default=None)
