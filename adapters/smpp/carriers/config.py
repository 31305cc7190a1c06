"""What a carrier's account says, as `hermes.toml` and the admin API give it.

One model for both doors: a wrong key is refused with its path and what would be right.
"""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from adapters.secrets import Secret, checked
from adapters.smpp.protocol.constants import CommandStatus
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


_HOST = re.compile(r"(?:\[([^\[\]]+)\]|([^\s\[\]:/@]+)):([0-9]{1,5})\Z")


def _host(value: str) -> str:
    host_of(value)
    return value


def host_of(value: str) -> Host:
    """`smsc.example:2775` or `[2001:db8::1]:2775`, in its two parts. Raises ValueError."""
    found = _HOST.match(value)
    if found is None:
        raise ValueError(
            "write it as host:port, for example smsc.example:2775 or [2001:db8::1]:2775"
        )
    address, name, port = found.groups()
    if address is not None:
        try:
            ipaddress.IPv6Address(address)
        except ValueError:
            raise ValueError("between brackets goes an IPv6 address") from None
    if not 1 <= int(port) <= 65535:
        raise ValueError("a port is a number from 1 to 65535")
    return Host(address or name, int(port))


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

    @field_validator("ca_file", "cert_file", "key_file")
    @classmethod
    def _there(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"{value} is no file")
        return value

    @field_validator("key_file")
    @classmethod
    def _with_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        # A cert_file that is wrong is not in the data, and has its own error.
        if value is not None and info.data.get("cert_file", value) is None:
            raise ValueError("key_file needs cert_file beside it")
        return value


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

    ton: Octet = 1
    npi: Octet = 1


class Alphanumeric(Address):
    """That of a sender in letters."""

    ton: Octet = 5
    npi: Octet = 0


_STATUS = re.compile(r"0x[0-9A-Fa-f]{1,8}\Z")
_NAMES = {status.name: int(status) for status in CommandStatus}
_THROTTLED = "throttled"
_MEANINGS = frozenset(
    code.value
    for code in FailureCode
    # What a carrier can say by refusing; the others are verdicts of our own.
    if code.value.startswith(("recipient_", "sender_", "content_", "provider_"))
    or code is FailureCode.CONFIGURATION
)


def status_of(key: str) -> int:
    """A command_status from its name (`ESME_RSYSERR`) or number (`0x0408`). Raises ValueError."""
    if key in _NAMES:
        return _NAMES[key]
    if _STATUS.match(key):
        return int(key, 16)
    raise ValueError(f"{key!r} is no command_status: write ESME_RSYSERR or 0x0408")


def _status(key: str) -> str:
    if not status_of(key):
        raise ValueError("ESME_ROK is success and means nothing else")
    return key


def _meaning(value: str) -> str:
    if value != _THROTTLED and value not in _MEANINGS:
        codes = ", ".join(sorted(_MEANINGS))
        raise ValueError(f"write {_THROTTLED}, or one of {codes}")
    return value


def _once(value: dict[str, str]) -> dict[str, str]:
    seen: dict[int, str] = {}
    for key in value:
        other = seen.setdefault(status_of(key), key)
        if other != key:
            raise ValueError(f"{other} and {key} are the same status: say it once")
    return value


Statuses = Annotated[
    dict[
        Annotated[str, AfterValidator(_status)],
        Annotated[str, AfterValidator(_meaning)],
    ],
    AfterValidator(_once),
]


def _c_octets(value: str) -> str:
    if "\0" in value or not value.isascii():
        raise ValueError("write it in ASCII, without NUL")
    return value


_Ascii = AfterValidator(_c_octets)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}\Z")
_PREFIX = re.compile(r"\+?([0-9]{1,15})\Z")


def _name(value: str) -> str:
    if not _NAME.match(value):
        raise ValueError("up to 32 of a-z, 0-9, - and _, a letter or digit first")
    return value


def _prefix(value: str) -> str:
    found = _PREFIX.match(value)
    if found is None:
        raise ValueError('the first digits of international numbers, for example "4520"')
    return found[1]


_PASSWORD_LENGTH = 8


def _password(value: Secret) -> Secret:
    password = value.get_secret_value()
    if len(password) > _PASSWORD_LENGTH:
        raise ValueError(f"SMPP has room for {_PASSWORD_LENGTH} characters (3.4, section 5.2.2)")
    _c_octets(password)
    return value


class CarrierConfig(Section):
    """One account with a carrier, and how it likes to be spoken to.

    Times are seconds. `window` is how many submits may be unanswered on one bind, `rate` how many
    parts a second the account takes over all binds and `bind_rate` on each; none is no limit of
    ours. `hosts` are tried in turn. `binds` connections are kept; with `bind =
    "transmitter+receiver"` each of them is a pair of sessions.
    """

    name: Annotated[str, AfterValidator(_name)]
    hosts: tuple[Annotated[str, AfterValidator(_host)], ...]
    bind: Literal["transceiver", "transmitter+receiver"] = "transceiver"
    binds: Annotated[int, Field(ge=1, le=64)] = 1
    tls: bool | Tls = True
    system_id: Annotated[str, Field(min_length=1, max_length=15), _Ascii]
    password: Annotated[Secret, checked(_password)]
    system_type: Annotated[str, Field(max_length=12), _Ascii] = ""
    address_range: Annotated[str, Field(max_length=40), _Ascii] = ""

    window: Annotated[int, Field(ge=1, le=10_000)] = 50
    rate: PerSecond | None = None
    bind_rate: PerSecond | None = None
    enquire_link_interval: Annotated[float, Field(gt=0, le=600)] = 2.0
    response_timeout: Seconds = 10.0

    default_sender: Annotated[str, Field(min_length=1, max_length=20), _Ascii] = "Hermes"
    source_numeric: Address = Address()
    source_alphanumeric: Alphanumeric = Alphanumeric()
    destination: Address = Address()
    service_type: Annotated[str, Field(max_length=5), _Ascii] = ""
    default_alphabet: Literal["gsm7", "latin1"] = "gsm7"
    concatenation: Literal["udh8", "udh16", "sar"] = "udh8"
    validity: Annotated[float, Field(ge=60, le=7 * 86400)] | None = None

    receipts: Literal["all", "intermediate", "none"] = "all"
    ids: Ids = Ids()
    command_status: Statuses = {}

    prefixes: tuple[Annotated[str, AfterValidator(_prefix)], ...] = ()
    price: Annotated[Decimal, Field(ge=0, max_digits=9, decimal_places=6)] | None = None

    @field_validator("hosts", "prefixes", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError('write a list: ["…", "…"]')
        return value

    @field_validator("hosts")
    @classmethod
    def _different(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one, as host:port")
        for host in value:
            if value.count(host) > 1:
                raise ValueError(f"{host} is there twice")
        return value

    @field_validator("tls", mode="before")
    @classmethod
    def _switch_or_table(cls, value: Any) -> Any:
        if isinstance(value, dict):
            # Here, so that an error has the path of its key and not of every alternative.
            return Tls.model_validate(value)
        if not isinstance(value, bool | Tls):
            raise ValueError(f"write true, false or a table with {', '.join(Tls.model_fields)}")
        return value

    @field_validator("bind_rate")
    @classmethod
    def _within_rate(cls, value: float | None, info: ValidationInfo) -> float | None:
        rate = info.data.get("rate")
        if value is not None and rate is not None and value > rate:
            raise ValueError("bind_rate exceeds rate, which holds for all binds together")
        return value
