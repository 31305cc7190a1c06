"""The head of a guest's request, as it goes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from adapters.wasm.egress.client import Origin
from adapters.wasm.egress.faults import HttpFault
from adapters.wasm.egress.placeholders import Vault
from adapters.wasm.egress.rules import MAX_HEAD, Target

_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_LENGTH: Final = len("content-length: 4194304\r\n\r\n")


@dataclass(frozen=True, slots=True)
class Head:
    """Where a request goes, and its lines without the body's length, which comes last.

    It may hold secrets, and is good for one configuration.
    """

    origin: Origin
    content_type: str
    octets: bytes
    always_sized: bool

    @classmethod
    def of(
        cls,
        tenant: str,
        method: str,
        target: Target,
        headers: Sequence[tuple[str, str]],
        vault: Vault,
        tokens: Mapping[str, str],
    ) -> Head:
        """With its placeholders filled in: the host is an allowed one. Raises HttpFault."""
        names = dict(headers)
        lines = [
            f"{method} {vault.in_path(target.path, tokens)} HTTP/1.1",
            f"host: {target.authority}",
            "accept-encoding: identity",
        ]
        if "user-agent" not in names:
            lines.append("user-agent: Hermes")
        lines += [f"{name}: {vault.in_header(name, value, tokens)}" for name, value in headers]
        octets = "\r\n".join([*lines, ""]).encode("latin-1")
        if len(octets) + _LENGTH > MAX_HEAD:
            raise HttpFault("too_large", f"the request's head is over its limit of {MAX_HEAD:,}")
        return cls(
            Origin(tenant, target.host, target.port),
            names.get("content-type", "").lower(),
            octets,
            method in _WITH_BODY,
        )

    def before(self, body: bytes) -> bytes:
        """The whole request."""
        if body or self.always_sized:
            return b"%bcontent-length: %d\r\n\r\n%b" % (self.octets, len(body), body)
        return self.octets + b"\r\n"
