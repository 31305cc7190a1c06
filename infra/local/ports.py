"""The local stack's ports: which they are, whether they are free, and who holds them if not."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from urllib.parse import urlsplit

import psutil

from adapters.smpp.carriers.config import host_of
from infra.settings import Settings

HOST = "127.0.0.1"
FREE = range(20_000, 32_000)
"""What `Ports.free` draws from: below the range of outgoing connections."""


@dataclass(frozen=True, slots=True)
class Ports:
    """One TCP port on the loopback interface for each door of the stack."""

    api: int = 8000
    ingress: int = 8080
    admin: int = 9070
    fabric: int = 5122
    endpoint: int = 9080
    pool: int = 9081
    smsc: int = 2775
    smsc_control: int = 2776
    mail: int = 1025
    mail_control: int = 8025
    providers: int = 8030
    twilio: int = 8031
    sendgrid: int = 8032
    fcm: int = 8033
    whatsapp: int = 8034

    @classmethod
    def of(cls, settings: Settings) -> Ports:
        """The ports that the settings name, and the defaults for those of the simulators."""
        carrier = next((c for c in settings.carriers if c.name == "simulator"), None)
        defaults = cls()
        return cls(
            api=settings.api.port,
            ingress=urlsplit(settings.restate.ingresses[0]).port or defaults.ingress,
            admin=urlsplit(settings.restate.admin).port or defaults.admin,
            endpoint=settings.endpoint.port,
            pool=settings.pool.port,
            smsc=host_of(carrier.hosts[0]).port if carrier else defaults.smsc,
            mail=settings.email.port,
        )

    @classmethod
    def free(cls) -> Ports:
        """Ports of `FREE` that nobody listens on.

        Several test runs at once draw from the same range, hence at random.
        """
        drawn: set[int] = set()
        while len(drawn) < len(fields(cls)):
            port = random.choice(FREE)
            if port not in drawn and not in_use(port):
                drawn.add(port)
        return cls(*drawn)

    def with_changes(self, changes: dict[str, int]) -> Ports:
        """A copy with some ports changed. Raises ValueError for a name that is none of them."""
        unknown = changes.keys() - {name for name, _ in self}
        if unknown:
            known = ", ".join(name for name, _ in self)
            raise ValueError(f"no port is called {', '.join(sorted(unknown))}; there are {known}")
        return replace(self, **changes)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return ((field.name, getattr(self, field.name)) for field in fields(self))


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that listens on a port; `pid` is None where the system does not tell."""

    pid: int | None
    command: str

    def __str__(self) -> str:
        if self.pid is None:
            return "another process (whose, only its owner or root may see)"
        return f"process {self.pid} ({self.command})"


def in_use(port: int) -> bool:
    """True when somebody listens on the loopback interface's port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        if probe.connect_ex((HOST, port)) == 0:
            return True
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def holder(port: int) -> Holder:
    """Who listens on a port that is in use."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:  # macOS tells only root
        connections = []
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,):
            if connection.pid is None:
                break
            try:
                command = " ".join(psutil.Process(connection.pid).cmdline())
            except psutil.Error:
                command = "?"
            return Holder(connection.pid, command if len(command) < 80 else command[:79] + "…")
    return Holder(None, "")
