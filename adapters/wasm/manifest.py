"""An adapter's manifest.json: what it is, what it may reach, what it has to be told."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from adapters.wasm.manifest_faults import MOST_FAULTS, Inconsistent, ManifestFault, faults_of

# In Python `$` also matches before a last line feed; elsewhere the look-ahead says nothing new.
_NAME = r"^[a-z][a-z0-9-]{1,31}$(?!\n)"
_KEY = r"^[a-z][a-z0-9_]{0,63}$(?!\n)"
_NUMBER = r"(0|[1-9][0-9]*)"
_SEMVER = (
    rf"^{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
    r"(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$(?!\n)"
)
# Labels, the last of them with a letter in front: no spelling of an IP address has that.
_HOST = (
    r"^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+"
    r"[a-z][a-z0-9-]{0,61}[a-z0-9](:[0-9]{1,5})?$(?!\n)"
)

Name = Annotated[str, Meta(pattern=_NAME)]
Key = Annotated[str, Meta(pattern=_KEY)]
Host = Annotated[str, Meta(pattern=_HOST, max_length=253)]
Value = str | int | bool

MAX_VALUE: Final = 16_384
"""Characters of one configuration value; a Google service account's key has 2,400."""

MAX_PATTERNED: Final = 512
"""Characters of a value that has a pattern."""

_MAX_QUANTIFIERS: Final = 2
# A regular expression's parts as Python reads them: an escaped character, a class with whatever is
# escaped in it, or any other character.
_PART: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)


class TwilioWebhook(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="twilio", tag_field="scheme"
):
    """HMAC-SHA1 over the address and the form. `secret` names a key of the configuration."""

    secret: Key


class SendGridWebhook(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="sendgrid", tag_field="scheme"
):
    """ECDSA over timestamp and body. `public_key` names a key of the configuration."""

    public_key: Key


class MetaWebhook(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="meta", tag_field="scheme"
):
    """HMAC-SHA256 over the body, and a GET that proves who set the address up. Both name keys of
    the configuration."""

    secret: Key
    verify_token: Key


class StandardWebhook(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag="standard-webhooks",
    tag_field="scheme",
):
    """Standard Webhooks, v1. `secret` names a key of the configuration."""

    secret: Key


WebhookScheme = TwilioWebhook | SendGridWebhook | MetaWebhook | StandardWebhook


class GoogleToken(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag="google-service-account",
    tag_field="scheme",
):
    """An access token that the host gets and caches. `key` names the configuration's value that
    holds the service account's JSON."""

    key: Key
    scope: Annotated[str, Meta(min_length=1, max_length=1_024)]


class ConfigurationKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One value that an adapter has to be told. A secret one is text, and no guest ever sees it.

    `pattern` has to match the whole value: a regular expression without groups and with at most
    two quantifiers, so that no value takes long to match.
    """

    type: Literal["string", "integer", "boolean"]
    description: Annotated[str, Meta(min_length=1, max_length=1_000)]
    required: bool = False
    secret: bool = False
    pattern: Annotated[str, Meta(max_length=256)] | None = None
    default: Value | None = None

    def __post_init__(self) -> None:
        if self.secret and (self.type != "string" or self.default is not None):
            raise ValueError("a secret is a string without a default")
        if self.pattern is not None:
            if self.type != "string":
                raise ValueError("only a string has a pattern")
            _check_pattern(self.pattern)
        if self.default is not None and (fault := self.fault(self.default)):
            raise ValueError(f"the default {fault}")

    def fault(self, value: object) -> str | None:
        """What is wrong with a value, as the rest of a sentence; None when nothing is."""
        if type(value) is not _TYPES[self.type]:
            return f"has to be of type {self.type}"
        if isinstance(value, str):
            if len(value) > MAX_VALUE:
                return f"has more than {MAX_VALUE:,} characters"
            if self.pattern is not None and (
                len(value) > MAX_PATTERNED or not re.fullmatch(self.pattern, value)
            ):
                return f"does not match {self.pattern}"
        return None


_TYPES: Final[dict[str, type]] = {"string": str, "integer": int, "boolean": bool}


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one call of a guest may use. The bounds are the host's maxima.

    `deadline_ms` is the time that the guest itself may take between two answers; `fuel` is the
    same in wasmtime's instructions, and the same on every machine. `request_bytes` and
    `response_bytes` are of one HTTP request; `http_timeout_ms` is from its beginning to the end of
    its answer.
    """

    memory_mb: Annotated[int, Meta(ge=4, le=64)] = 32
    fuel: Annotated[int, Meta(ge=1_000_000, le=2_000_000_000)] = 500_000_000
    deadline_ms: Annotated[int, Meta(ge=10, le=1_000)] = 100
    http_calls: Annotated[int, Meta(ge=0, le=16)] = 4
    http_timeout_ms: Annotated[int, Meta(ge=100, le=30_000)] = 10_000
    request_bytes: Annotated[int, Meta(ge=0, le=4_194_304)] = 262_144
    response_bytes: Annotated[int, Meta(ge=0, le=4_194_304)] = 1_048_576
    store_keys: Annotated[int, Meta(ge=0, le=1_024)] = 128
    store_bytes: Annotated[int, Meta(ge=0, le=1_048_576)] = 65_536


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A whole manifest, checked."""

    name: Name
    version: Annotated[str, Meta(pattern=_SEMVER, max_length=64)]
    contract: Literal["1.0.0"]
    summary: Annotated[str, Meta(min_length=1, max_length=200)]
    channels: Annotated[
        tuple[Literal["sms", "email", "push", "whatsapp"], ...], Meta(min_length=1, max_length=4)
    ]
    hosts: Annotated[tuple[Host, ...], Meta(max_length=16)]
    webhook: WebhookScheme | None = None
    tokens: Annotated[dict[Key, GoogleToken], Meta(max_length=4)] = {}
    configuration: Annotated[dict[Key, ConfigurationKey], Meta(max_length=64)] = {}
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if faults := self._inconsistent():
            raise Inconsistent(faults)

    def _inconsistent(self) -> list[ManifestFault]:
        faults = []
        for number, host in enumerate(self.hosts):
            _, _, port = host.partition(":")
            if port and not 0 < int(port) < 65_536:
                faults.append(ManifestFault(f"/hosts/{number}", f"has a port that is none: {port}"))
        for pointer, key in self._named():
            named = self.configuration.get(key)
            if named is None:
                faults.append(ManifestFault(pointer, f"names {key}, which is not in configuration"))
            elif named.type != "string":
                faults.append(
                    ManifestFault(pointer, f"names {key}, which is of another type than string")
                )
        return faults

    def _named(self) -> list[tuple[str, str]]:
        """The places that name a key of the configuration, by their pointers, each with the key."""
        named = [(f"/tokens/{name}/key", token.key) for name, token in self.tokens.items()]
        if self.webhook is not None:
            fields = msgspec.structs.asdict(self.webhook)
            named += [(f"/webhook/{field}", key) for field, key in fields.items()]
        return named

    def faults(self, given: Mapping[str, object]) -> dict[str, str]:
        """What is wrong with a configuration (values and secrets together), by key.

        Nothing is wrong when it is empty. Each text completes a sentence that begins with the
        key: "is missing".
        """
        found = {key: "is unknown" for key in given if key not in self.configuration}
        for key, declared in self.configuration.items():
            if key not in given:
                if declared.required and declared.default is None:
                    found[key] = "is missing"
            elif fault := declared.fault(given[key]):
                found[key] = fault
        return found

    def defaults(self) -> dict[str, Value]:
        """The values of keys that have a default."""
        return {
            key: declared.default
            for key, declared in self.configuration.items()
            if declared.default is not None
        }


class ManifestError(ValueError):
    """The manifest cannot be used. `faults` are all that were found, the message is them, a line
    each."""

    def __init__(self, faults: Sequence[ManifestFault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


_DECODER = msgspec.json.Decoder(Manifest)
_FORMS: Final = {
    _NAME: "has to be 2 to 32 of a-z, 0-9 and -, the first a letter",
    _KEY: "has to be 1 to 64 of a-z, 0-9 and _, the first a letter",
    _SEMVER: "has to be three numbers such as 1.2.0",
    _HOST: "has to be a host's name such as api.example.com, *.example.com or example.com:8443",
}


def read_manifest(text: bytes | str) -> Manifest:
    """A manifest from its JSON. Raises ManifestError."""
    try:
        return _DECODER.decode(text)
    except msgspec.ValidationError as error:
        first = error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError([ManifestFault("", f"is not JSON: {error}")]) from None
    try:
        found = faults_of(msgspec.json.decode(text), Manifest, _FORMS)
        faults = list(itertools.islice(found, MOST_FAULTS))
    except RecursionError:
        faults = []
    raise ManifestError(faults or [ManifestFault("", f"cannot be used: {first}")]) from None


def _check_pattern(pattern: str) -> None:
    """Refuse what could take long to match, which is a tenant's to write and ours to run.

    Without groups nothing is repeated that is itself repeated, and with two quantifiers matching
    takes at most the square of MAX_PATTERNED steps.
    """
    if re.search(r"\\[1-9]", pattern):
        raise ValueError("pattern: no back references")
    # What is escaped or within a class is no operator.
    plain = "".join(part for part in _PART.findall(pattern) if len(part) == 1)
    if "(" in plain:
        raise ValueError("pattern: no groups")
    if len(re.findall(r"[*+?]|\{[0-9]*,[0-9]*\}", plain)) > _MAX_QUANTIFIERS:
        raise ValueError(f"pattern: at most {_MAX_QUANTIFIERS} of * + ? {{m,n}}")
    try:
        re.compile(pattern)
    except (re.error, OverflowError) as error:
        raise ValueError(f"pattern: {error}") from None
