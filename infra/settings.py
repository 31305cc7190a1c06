"""Settings: `hermes.toml`, then environment variables (`HERMES_API__PORT`) over it."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from adapters.secrets import Complaint, Secret, checked, missing_until_used
from adapters.smpp.carriers.config import CarrierConfig, Section
from adapters.store.database import check_address
from domain.inbound import InboundRoute, Routes
from domain.routing.rules import StrategyName
from infra.settings_faults import line_of


class ConfigurationError(Exception):
    """The settings are wrong; the message names the keys and what would be right."""


Port = Annotated[int, Field(ge=1, le=65535)]


class Listener(Section):
    """Where a process of ours listens."""

    host: str = "127.0.0.1"
    port: Port


class ApiListener(Listener):
    """Tenants' door."""

    port: Port = 8000


class EndpointListener(Listener):
    """The handlers' door, for restate-server."""

    port: Port = 9080


class PoolListener(Listener):
    """The bind pool's door, for restate-server and the operator."""

    port: Port = 9081


class Restate(Section):
    """How to reach restate-server. Of a cluster, `ingress` lists those of the nodes, of which any
    will do. `identity_keys` are its public request-signing keys. With `direct`, an attempt goes to
    its channel without a call of Restate's where that is as safe: it halves what a message costs.
    The endpoint must reach the bind pools (`backpressure.pools`) for it; not so on Lambda."""

    ingress: str | tuple[str, ...] = "http://127.0.0.1:8080"
    admin: str = "http://127.0.0.1:9070"
    identity_keys: tuple[str, ...] = ()
    direct: bool = True

    @field_validator("ingress", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        # Here, so that an error is not told once for each alternative.
        several = isinstance(value, list | tuple) and value
        if not all(isinstance(one, str) for one in (value if several else [value])):
            raise ValueError("write an address, or a list of at least one")
        return value

    @property
    def ingresses(self) -> tuple[str, ...]:
        """The ingress of every node."""
        return (self.ingress,) if isinstance(self.ingress, str) else self.ingress


class Email(Section):
    """The SMTP relay. `domain` is the right-hand side of our Message-IDs; `sessions` is how many
    mails each endpoint process may have on their way to the relay."""

    host: str = "127.0.0.1"
    port: Port = 1025
    tls: Literal["none", "starttls", "implicit"] = "starttls"
    ca_file: Path | None = None
    username: str | None = None
    password: Secret | None = None
    sender: str = "Hermes <noreply@hermes.example>"
    domain: str = "hermes.example"
    timeout: Annotated[float, Field(gt=0)] = 20.0
    sessions: Annotated[int, Field(ge=1, le=1_000)] = 20


class InboundNumber(Section):
    """Messages to `number` that begin with `keyword` are posted to `tenant`'s `url`; without a
    keyword, those that no keyword of the number fits."""

    number: str
    keyword: Annotated[str, Field(max_length=50)] | None = None
    tenant: Annotated[str, Field(min_length=1)]
    url: str

    @field_validator("number")
    @classmethod
    def _digits(cls, value: str) -> str:
        if not re.fullmatch(r"\+?[0-9]{1,15}", value):
            raise ValueError("write 1 to 15 digits, with or without a + before them")
        return value

    @field_validator("url")
    @classmethod
    def _http(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write it as https://host/path")
        return value


class Callbacks(Section):
    """Status callbacks to tenants. Private addresses only where it is said, which marks a machine
    that is developed on: marketing mails go out there though their links lead nowhere."""

    allow_private_addresses: bool = False


class Adapters(Section):
    """The sandboxed HTTP providers.

    Each is asked for its health every `health_interval` seconds. `reroute` maps a provider's host
    to the address of a stand-in, for development: `{"api.twilio.com" = "http://127.0.0.1:8031"}`.
    `log_guests` writes down what tenants' own adapters log, which may be what messages say.
    """

    log_guests: bool = False
    health_interval: Annotated[float, Field(ge=1, le=3600)] = 30.0
    reroute: dict[str, str] = Field(default_factory=dict)

    @field_validator("reroute")
    @classmethod
    def _addresses(cls, value: dict[str, str]) -> dict[str, str]:
        for host, address in value.items():
            parts = urlsplit(address)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.path:
                raise ValueError(f"{host}: write it as http://host:port")
        return value


def _is_a_key(value: SecretStr) -> SecretStr:
    key = value.get_secret_value()
    if not 16 <= len(key) <= 512 or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("a key has 16 to 512 printable ASCII characters and no space")
    return value


class Admin(Section):
    """The operator's door at each pool. Without a `key`, one is made up and kept in `data_dir`."""

    key: Annotated[Secret, checked(_is_a_key)] | None = None


def _is_postgres(value: SecretStr) -> SecretStr:
    check_address(value.get_secret_value())
    return value


class Backpressure(Section):
    """A message that would wait longer than `queue_wait` seconds for a carrier is not accepted.

    `pools` are the addresses of all bind pools, where the API asks; without, the one of `pool`.
    """

    queue_wait: Annotated[float, Field(gt=0)] = 60.0
    pools: tuple[str, ...] = ()


def _is_public_url(value: str) -> str:
    parts = urlsplit(value)
    bare = not (parts.query or parts.fragment or parts.username)
    if parts.scheme not in ("http", "https") or not parts.hostname or not bare:
        raise ValueError("write it as https://host, where the providers reach the API")
    return value.rstrip("/")


class NumberLookup(Section):
    """A service that says which network serves a number. `url` has `{number}` where the number
    comes, in E.164 without its +; `field` is where the operator stands in its JSON, as MCC and MNC.
    `authorization` is the whole header. It has `timeout` seconds, and `concurrency` questions at a
    time."""

    url: str
    field: Annotated[str, Field(min_length=1)] = "mccmnc"
    authorization: Secret | None = None
    timeout: Annotated[float, Field(gt=0, le=60)] = 5.0
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 16

    @field_validator("url")
    @classmethod
    def _has_a_place(cls, value: str) -> str:
        parts = urlsplit(value)
        place = "{number}" in f"{parts.path}?{parts.query}"
        is_url = parts.scheme in ("http", "https") and parts.hostname and value.isascii()
        if not is_url or not place:
            raise ValueError("write it as https://host/path/{number}")
        return value


class Routing(Section):
    """How routes are chosen, for tenants that do not say it themselves: `least-cost` (then
    quality), `priority` (the order that was configured) or `weighted` (traffic is divided)."""

    strategy: StrategyName = "least-cost"


class Settings(BaseSettings):
    """Everything that a process of Hermes needs to know.

    After a message's end Restate shows its invocation for `journal_retention` seconds; it holds the
    content, perhaps a one-time password.

    `public_url` is where the API is reached from outside: providers' webhooks come to it, and some
    sign it, and the unsubscribe links in marketing mails lead there; without it, the API's own
    address.

    `database_url` is `postgresql://user:password@host/database`, where tenants, keys, what is set
    for them and the message log are kept, for any number of machines; without it they are in
    `data_dir`, for one machine. `smpp_journal_url` is the same for the journal of submissions and
    receipts, which several bind pools may share; both may name one database.
    """

    model_config = SettingsConfigDict(
        env_prefix="HERMES_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    data_dir: Path = Path(".hermes")
    restate: Restate = Restate()
    api: ApiListener = ApiListener()
    endpoint: EndpointListener = EndpointListener()
    pool: PoolListener = PoolListener()
    database_url: Annotated[Secret, checked(_is_postgres)] | None = None
    smpp_journal_url: Annotated[Secret, checked(_is_postgres)] | None = None
    carriers: tuple[CarrierConfig, ...] = ()
    email: Email = Email()
    callbacks: Callbacks = Callbacks()
    adapters: Adapters = Adapters()
    public_url: Annotated[str, AfterValidator(_is_public_url)] | None = None
    admin: Admin = Admin()
    backpressure: Backpressure = Backpressure()
    routing: Routing = Routing()
    number_lookup: NumberLookup | None = None
    inbound: tuple[InboundNumber, ...] = ()
    inbound_timeout: Annotated[float, Field(gt=0, le=3600)] = 60.0
    journal_retention: Annotated[float, Field(ge=0)] = 3600.0

    @field_validator("carriers")
    @classmethod
    def _named_once(cls, value: tuple[CarrierConfig, ...]) -> tuple[CarrierConfig, ...]:
        names = [carrier.name for carrier in value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two carriers are named {name}")
        return value

    @field_validator("inbound")
    @classmethod
    def _told_apart(cls, value: tuple[InboundNumber, ...]) -> tuple[InboundNumber, ...]:
        inbound_routes(value)
        return value

    @model_validator(mode="after")
    def _https(self) -> Self:
        if not self.callbacks.allow_private_addresses:
            for index, one in enumerate(self.inbound):
                if urlsplit(one.url).scheme != "https":
                    raise ValueError(f"inbound.{index}.url: only https is called")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file over defaults."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file())

    @property
    def pool_urls(self) -> tuple[str, ...]:
        """Where the bind pools are."""
        return self.backpressure.pools or (f"http://{self.pool.host}:{self.pool.port}",)

    @property
    def webhooks_url(self) -> str:
        """Where providers reach us."""
        return self.public_url or f"http://{self.api.host}:{self.api.port}"

    @property
    def unsubscribing_works(self) -> bool:
        """Whether the link in a marketing mail leads its reader to us: mail programs follow https
        alone (RFC 8058), and nobody outside reaches the API's own address."""
        return self.public_url is not None and urlsplit(self.public_url).scheme == "https"

    @property
    def database(self) -> Path | str:
        """Tenants, keys, what is set for them and the message log: a SQLite file, or the address
        of a PostgreSQL database. The address holds a password: never to be shown."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return self.data_dir / "hermes.db"

    @property
    def smpp_journal(self) -> Path | str:
        """Submissions and receipts: the SQLite file of the one bind pool, or the address of the
        PostgreSQL database that several share. The address holds a password: never to be shown."""
        if self.smpp_journal_url is not None:
            return self.smpp_journal_url.get_secret_value()
        return self.data_dir / "smpp.db"


def inbound_routes(numbers: tuple[InboundNumber, ...]) -> Routes:
    """Whose a message is. Raises ValueError when two say the same."""
    return Routes(InboundRoute(one.number, one.keyword, one.tenant, one.url) for one in numbers)


def file() -> Path:
    """The file that is read, if it is there."""
    return Path(os.environ.get("HERMES_CONFIG", "hermes.toml"))


def load() -> Settings:
    """Read and check the settings. Raises ConfigurationError with one line for each fault."""
    if "HERMES_CONFIG" in os.environ and not file().is_file():
        raise ConfigurationError(f"HERMES_CONFIG names {file()}, which is no file")
    try:
        return Settings()
    except ValidationError as error:
        lines = (line_of(each, Settings) for each in error.errors(include_input=False))
        raise ConfigurationError("\n".join(lines)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file()} is no TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file()} cannot be read: {error}") from None
    except SettingsError as error:
        # It names the table, though a variable of one of its keys may be meant.
        table = str(error).partition('field "')[2].partition('"')[0].upper()
        raise ConfigurationError(
            f"HERMES_{table}, or a variable of one of its keys, is no JSON: {error.__cause__}"
        ) from None


def load_for_command(when_used: Complaint) -> Settings:
    """As `load`, for one of `hermes`'s commands, which has no use for most secrets and runs in a
    shell that may not have them: using one that is not there raises what `when_used` makes of the
    reason."""
    with missing_until_used(when_used):
        return load()
