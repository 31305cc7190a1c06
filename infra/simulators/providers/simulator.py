"""All four providers in one process, with one control port."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from infra.simulators.providers.accounts import Accounts
from infra.simulators.providers.control import Control
from infra.simulators.providers.courier import Courier
from infra.simulators.providers.fcm import Fcm
from infra.simulators.providers.options import Options
from infra.simulators.providers.provider import Provider
from infra.simulators.providers.sendgrid import SendGrid
from infra.simulators.providers.twilio import Twilio
from infra.simulators.providers.whatsapp import WhatsApp

_log = logging.getLogger(__name__)

PROVIDERS: Final[dict[str, type[Provider]]] = {
    kind.name: kind for kind in (Twilio, SendGrid, Fcm, WhatsApp)
}


class Ports(Struct, frozen=True):
    """A TCP port for each door; 0 takes any that is free."""

    control: int = 8030
    twilio: int = 8031
    sendgrid: int = 8032
    fcm: int = 8033
    whatsapp: int = 8034


class ProviderSandbox:
    """The providers. Made on a running loop; `start` opens their ports."""

    def __init__(self, options: Options | None = None, accounts: Accounts | None = None) -> None:
        self.accounts: Final = accounts or Accounts()
        self._courier = Courier()
        self.providers: Final = {
            name: kind(options or Options(), self.accounts, self._courier)
            for name, kind in PROVIDERS.items()
        }
        self._control = Control(self)

    async def start(self, host: str = "127.0.0.1", ports: Ports | None = None) -> Ports:
        """Listen; the ports bound.

        Raises:
            OSError: a port is taken; none stays open.
        """
        asked = ports or Ports(*[0] * len(Ports.__struct_fields__))
        bound: dict[str, int] = {}
        try:
            for name, provider in self.providers.items():
                bound[name] = await provider.start(host, getattr(asked, name))
            # Last: who can ask it finds the others ready.
            bound["control"] = await self._control.start(host, asked.control)
        except OSError:
            await self.stop()
            raise
        shown = ", ".join(f"{name} http://{host}:{port}" for name, port in bound.items())
        _log.info("provider sandbox ready: %s", shown)
        return Ports(**bound)

    async def stop(self) -> None:
        """Close the ports and every connection."""
        await self._control.stop()
        for provider in self.providers.values():
            await provider.stop()
        await self._courier.stop()

    def named(self, name: str | None) -> list[Provider]:
        """The provider of that name, or all of them for None.

        Raises:
            ValueError: there is none.
        """
        if name is None:
            return list(self.providers.values())
        if name not in self.providers:
            known = ", ".join(self.providers)
            raise ValueError(f"provider: expected one of {known}, not {name!r}")
        return [self.providers[name]]

    def change(self, changes: Mapping[str, Any], name: str | None = None) -> None:
        """Change options of one provider, or of all of them.

        Raises:
            OptionsError: a name is unknown or a value is not right; then nothing changes.
            ValueError: there is no such provider.
        """
        meant = self.named(name)
        changed = [provider.options.changed(changes) for provider in meant]
        for provider, options in zip(meant, changed, strict=True):
            provider.set(options)

    def reset(self) -> None:
        """Forget all that was seen, and every callback not delivered yet."""
        self._courier.clear()
        for provider in self.providers.values():
            provider.forget()
            provider.record.reset()
