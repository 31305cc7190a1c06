"""What a carrier's account says, as `hermes.toml` and the admin API give it.

One model for both doors: a wrong key is refused with its path and what would be right.
"""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from adapters.secrets import Secret
from adapters.smpp.constants import CommandStatus
from domain.failures import FailureCode

Seconds = Annotated[float, Field(gt=0, le=3600)]
PerSecond = Annotated[float, Field(gt=0, le=100_000)]
Octet = Annotated[int, Field(ge=0, le=255)]


class Section(BaseModel):
    """A table of the settings: unknown keys are errors, and values never show in one."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Host(NamedTuple):
    """Where a carrier listens."""

    name: str
    port: int


def _host(value: str) -> str:
    host_of(value)
    return value


def host_of(value: str) -> Host:
    """`smsc.example:2775` or `[2001:db8::1]:2775`, in its two parts. Raises ValueError."""
    name, colon, port = value.rpartition(":")
    name = name.removeprefix("[").removesuffix("]")
    if not colon or not name or not port.isascii() or not port.isdigit():
        raise ValueError("write it as host:port, for example smsc.example:2775")
    if not 1 <= int(port) <= 65535:
        raise ValueError("a port is a number from 1 to 65535")
    return Host(name, int(port))


class Tls(Section):
    """TLS towards a carrier. The certificate must be valid for the host's name.

    `ca_file` replaces the system's authorities, `server_name` the name that is verified when the
    carrier's certificate carries another one than its host. `cert_file` and `key_file` are our own
    certificate, for carriers that ask for one.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file needs cert_file beside it")
        for file in (self.ca_file, self.cert_file, self.key_file):
            if file is not None and not file.is_file():
                raise ValueError(f"{file} is no file")
        return self


IdFormat = Literal["text", "decimal", "hex"]


class Ids(Section):
    """How a carrier writes a message's id in its response and in its receipts.

    With `text` on both sides ids are compared as they come, else as numbers, which also makes
    leading zeros harmless. Never guessed: `10` is ten or sixteen.
    """

    response: IdFormat = "text"
    receipt: IdFormat = "text"

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        if (self.response == "text") != (self.receipt == "text"):
            raise ValueError("text on one side only: say hex or decimal for both, or text for both")
        return self


class Address(Section):
    """Type of number and numbering plan (SMPP 3.4 sections 5.2.5 and 5.2.6)."""

    ton: Octet
    npi: Octet


_STATUS = re.compile(r"0x[0-9A-Fa-f]{1,8}\Z")
_NAMES = {status.name: int(status) for status in CommandStatus}
StatusMeaning = Literal["throttled"] | FailureCode


def status_of(key: str) -> int:
    """A command_status from its name (`ESME_RSYSERR`) or number (`0x0408`). Raises ValueError."""
    if key in _NAMES:
        return _NAMES[key]
    if _STATUS.match(key):
        return int(key, 16)
    raise ValueError(f"{key!r} is no command_status: write ESME_RSYSERR or 0x0408")


def _statuses(value: dict[str, StatusMeaning]) -> dict[str, StatusMeaning]:
    for key in value:
        if not status_of(key):
            raise ValueError("ESME_ROK is success and means nothing else")
    return value


class CarrierConfig(Section):
    """One account with a carrier, and how it likes to be spoken to.

    Times are seconds. `window` is how many submits may be unanswered on one bind, `rate` how many
    parts a second the account takes over all binds and `bind_rate` on each; none is no limit of
    ours. `hosts` are tried in turn. `binds` connections are kept; with `bind =
    "transmitter+receiver"` each of them is a pair of sessions.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
    hosts: Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], Field(min_length=1)]
    bind: Literal["transceiver", "transmitter+receiver"] = "transceiver"
    binds: Annotated[int, Field(ge=1, le=64)] = 1
    tls: bool | Tls = True
    system_id: Annotated[str, Field(max_length=15)]
    password: Secret
    system_type: Annotated[str, Field(max_length=12)] = ""
    address_range: Annotated[str, Field(max_length=40)] = ""

    window: Annotated[int, Field(ge=1, le=10_000)] = 50
    rate: PerSecond | None = None
    bind_rate: PerSecond | None = None
    enquire_link_interval: Annotated[float, Field(gt=0, le=600)] = 2.0
    response_timeout: Seconds = 10.0

    default_sender: Annotated[str, Field(min_length=1, max_length=20)] = "Hermes"
    source_numeric: Address = Address(ton=1, npi=1)
    source_alphanumeric: Address = Address(ton=5, npi=0)
    destination: Address = Address(ton=1, npi=1)
    service_type: Annotated[str, Field(max_length=5)] = ""
    default_alphabet: Literal["gsm7", "latin1"] = "gsm7"
    concatenation: Literal["udh8", "udh16", "sar"] = "udh8"
    validity: Annotated[float, Field(ge=60, le=7 * 86400)] | None = None

    receipts: Literal["all", "intermediate", "none"] = "all"
    ids: Ids = Ids()
    command_status: Annotated[dict[str, StatusMeaning], AfterValidator(_statuses)] = {}

    prefixes: tuple[Annotated[str, Field(pattern=r"^\+?[0-9]{1,15}$")], ...] = ()
    price: Annotated[Decimal, Field(ge=0, max_digits=9, decimal_places=6)] | None = None

    @field_validator("prefixes")
    @classmethod
    def _digits(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(prefix.removeprefix("+") for prefix in value)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.bind_rate is not None and self.rate is not None and self.bind_rate > self.rate:
            raise ValueError("bind_rate exceeds rate, which holds for all binds together")
        return self
