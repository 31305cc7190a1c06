"""Certificates for tests, made in Python: an authority, and what it signs for servers and clients.

authority = Authority(tmp_path)
server = authority.server()                 # 127.0.0.1, localhost
other = authority.server("api.example.com")
client = authority.client("hermes")
asyncio.start_server(..., ssl=server.context())
ssl.create_default_context(cafile=authority.file)
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

LOCAL = ("127.0.0.1", "localhost")
"""The names of a server that a test reaches by no other."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The PEM files of one certificate (with what is between it and the authority) and its key."""

    chain: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """What a server with this certificate listens with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context


class Authority:
    """An authority that nobody trusts but by its `file`. Writes into `directory`, its alone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._authority = trustme.CA()
        self._issued = 0
        self.file = directory / "authority.pem"
        self._authority.cert_pem.write_to_path(self.file)

    def server(self, *names: str) -> Certificate:
        """A certificate for these host names and addresses, else for `LOCAL`."""
        return self._write(self._authority.issue_cert(*(names or LOCAL)))

    def client(self, name: str) -> Certificate:
        """A certificate that a client shows, with `name` as its common name."""
        return self._write(self._authority.issue_cert(f"{name}.invalid", common_name=name))

    def client_trust(self) -> ssl.SSLContext:
        """What a client that trusts only this authority connects with."""
        return ssl.create_default_context(cafile=self.file)

    def require_from_clients(self, context: ssl.SSLContext) -> ssl.SSLContext:
        """Make a server's context ask every client for a certificate of this authority."""
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.file)
        return context

    def _write(self, leaf: trustme.LeafCert) -> Certificate:
        self._issued += 1
        stem = f"{self.file.stem}-{self._issued}"
        chain = self._directory / f"{stem}.pem"
        key = self._directory / f"{stem}.key"
        for index, pem in enumerate(leaf.cert_chain_pems):
            pem.write_to_path(chain, append=index > 0)
        leaf.private_key_pem.write_to_path(key)
        return Certificate(chain, key)
