"""Settings: `hermes.toml`, then environment variables (`HERMES_API__PORT`) over it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)


class ConfigurationError(Exception):
    """The settings are wrong; the message names the keys and what would be right."""


def _resolve_secret(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("env:"):
        name = value.removeprefix("env:")
        if name not in os.environ:
            raise ValueError(f"environment variable {name} is not set")
        return os.environ[name]
    if isinstance(value, str) and value.startswith("file:"):
        path = Path(value.removeprefix("file:"))
        try:
            return path.read_text().strip()
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror}") from error
    return value


Secret = Annotated[SecretStr, BeforeValidator(_resolve_secret)]
"""A literal, `env:NAME` or `file:/path`; never shown in a representation or an error."""

Port = Annotated[int, Field(ge=1, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Listener(_Section):
    """Where a process of ours listens."""

    host: str = "127.0.0.1"
    port: Port


class Restate(_Section):
    """How to reach restate-server. `identity_keys` are its public request-signing keys."""

    ingress: str = "http://127.0.0.1:8080"
    admin: str = "http://127.0.0.1:9070"
    identity_keys: tuple[str, ...] = ()


class Carrier(_Section):
    """One SMPP account. Times in seconds; `window` is the number of unanswered submits."""

    name: str
    host: str
    port: Port = 2775
    system_id: str
    password: Secret
    system_type: str = ""
    tls: bool = False
    window: Annotated[int, Field(ge=1, le=10_000)] = 50
    enquire_link_interval: Annotated[float, Field(gt=0)] = 2.0
    response_timeout: Annotated[float, Field(gt=0)] = 10.0
    default_sender: str = "Hermes"


class Email(_Section):
    """The SMTP relay. `domain` is the right-hand side of our Message-IDs."""

    host: str = "127.0.0.1"
    port: Port = 1025
    tls: Literal["none", "starttls", "implicit"] = "starttls"
    ca_file: Path | None = None
    username: str | None = None
    password: Secret | None = None
    sender: str = "Hermes <noreply@hermes.example>"
    domain: str = "hermes.example"
    timeout: Annotated[float, Field(gt=0)] = 20.0


class Callbacks(_Section):
    """Status callbacks to tenants. Private addresses only where it is said."""

    allow_private_addresses: bool = False


class Settings(BaseSettings):
    """Everything that a process of Hermes needs to know.

    Seconds: after a message's end, Restate shows its state for `state_retention`, without the
    content, and its invocation for `journal_retention`, which holds the content, perhaps a
    one-time password.
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
    api: Listener = Listener(port=8000)
    endpoint: Listener = Listener(port=9080)
    pool: Listener = Listener(port=9081)
    carriers: tuple[Carrier, ...] = ()
    email: Email = Email()
    callbacks: Callbacks = Callbacks()
    state_retention: Annotated[float, Field(gt=0)] = 86400.0
    journal_retention: Annotated[float, Field(ge=0)] = 3600.0

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
        file = Path(os.environ.get("HERMES_CONFIG", "hermes.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file)

    @property
    def message_log(self) -> Path:
        """The SQLite file of tenants, keys and the message log."""
        return self.data_dir / "hermes.db"

    @property
    def smpp_journal(self) -> Path:
        """The SQLite file of the bind pool: submissions and receipts."""
        return self.data_dir / "smpp.db"


def load() -> Settings:
    """Read and check the settings. Raises ConfigurationError with one line for each fault."""
    named = os.environ.get("HERMES_CONFIG")
    if named is not None and not Path(named).is_file():
        raise ConfigurationError(f"HERMES_CONFIG names {named}, which is no file")
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigurationError("\n".join(lines)) from None
