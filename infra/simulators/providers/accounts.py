"""The accounts at the providers: who may send, with which credentials, and where callbacks go.

Each provider has one account from the start, with the same well-known credentials every time; only
keys are made anew, unless the accounts are kept in a file. They open nothing but this sandbox.
"""

import base64
import functools
import json
import os
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, TypeVar, cast

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from msgspec import Struct

_RSA_BITS: Final = 2048


class TwilioAccount(Struct, forbid_unknown_fields=True, kw_only=True):
    """`webhook` takes incoming messages; status callbacks go where each message says."""

    identity: ClassVar[str] = "account_sid"
    account_sid: str = "AC0123456789abcdef0123456789abcdef"
    auth_token: str = "fedcba9876543210fedcba9876543210"  # noqa: S105
    webhook: str | None = None

    def show(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return _builtins(self)


class SendGridAccount(Struct, forbid_unknown_fields=True, kw_only=True):
    """`webhook` takes events. `private_key` (PEM, P-256) signs them and is made when missing."""

    identity: ClassVar[str] = "api_key"
    api_key: str = "SG.sandbox-sandbox-sandbo.sandbox-sandbox-sandbox-sandbox-sandbox-san"
    webhook: str | None = None
    private_key: str = ""

    def __post_init__(self) -> None:
        if not self.private_key:
            self.private_key = _pem(ec.generate_private_key(ec.SECP256R1()))
        if not isinstance(_load(self.private_key), ec.EllipticCurvePrivateKey):
            raise ValueError("private_key: expected a P-256 key in PEM")

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        """The key that signs."""
        return cast(ec.EllipticCurvePrivateKey, _load(self.private_key))

    @property
    def public_key(self) -> str:
        """As SendGrid shows it: SubjectPublicKeyInfo, DER, base64, without PEM's frame."""
        return _public_key(self.key)

    def show(self) -> dict[str, Any]:
        """All of it, as JSON, with the public key."""
        return {**_builtins(self), "webhook_public_key": self.public_key}


class FcmAccount(Struct, forbid_unknown_fields=True, kw_only=True):
    """A Firebase project with one service account; its `private_key` (PEM, RSA) is made when
    missing."""

    identity: ClassVar[str] = "project_id"
    project_id: str = "hermes-sandbox"
    private_key: str = ""

    def __post_init__(self) -> None:
        if not self.private_key:
            self.private_key = _pem(
                rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
            )
        if not isinstance(_load(self.private_key), rsa.RSAPrivateKey):
            raise ValueError("private_key: expected an RSA key in PEM")

    @property
    def key(self) -> rsa.RSAPrivateKey:
        """The key that the service account signs with."""
        return cast(rsa.RSAPrivateKey, _load(self.private_key))

    @property
    def client_email(self) -> str:
        """The service account's name."""
        return f"sandbox@{self.project_id}.iam.gserviceaccount.com"

    def show(self) -> dict[str, Any]:
        """With the service account as Google's console gives it, a JSON text."""
        service_account = {
            "type": "service_account",
            "project_id": self.project_id,
            "private_key_id": "0" * 40,
            "private_key": self.private_key,
            "client_email": self.client_email,
            "client_id": "100000000000000000001",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": "https://oauth2.googleapis.com/token",
            "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
            "universe_domain": "googleapis.com",
        }
        return {**_builtins(self), "service_account": json.dumps(service_account)}


class WhatsAppAccount(Struct, forbid_unknown_fields=True, kw_only=True):
    """`webhook` takes statuses and incoming messages, and is verified with `verify_token`."""

    identity: ClassVar[str] = "phone_number_id"
    phone_number_id: str = "100000000000001"
    display_phone_number: str = "15550000001"
    business_account_id: str = "200000000000001"
    access_token: str = "EAAsandboxsandboxsandboxsandbox"  # noqa: S105
    app_secret: str = "0123456789abcdef0123456789abcdef"  # noqa: S105
    verify_token: str = "hermes"  # noqa: S105
    webhook: str | None = None

    def show(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return _builtins(self)


Account = TwilioAccount | SendGridAccount | FcmAccount | WhatsAppAccount
A = TypeVar("A", TwilioAccount, SendGridAccount, FcmAccount, WhatsAppAccount)

KINDS: Final[dict[str, type[Account]]] = {
    "twilio": TwilioAccount,
    "sendgrid": SendGridAccount,
    "fcm": FcmAccount,
    "whatsapp": WhatsAppAccount,
}
"""The providers, and what an account at each is."""


class Book(Generic[A]):
    """The accounts at one provider, by what identifies them; the first is the default."""

    def __init__(self, kind: type[A], accounts: list[A] | None = None) -> None:
        self.kind: Final[type[A]] = kind
        self._accounts: dict[str, A] = {}
        for account in accounts or [kind()]:
            self.put(account)

    def put(self, account: A) -> None:
        """Add an account, or replace the one of the same identity."""
        self._accounts[getattr(account, self.kind.identity)] = account

    def get(self, identity: str) -> A | None:
        """The account that a request names."""
        return self._accounts.get(identity)

    def find(self, identity: str | None) -> A:
        """The account that a person names, or the default.

        Raises:
            ValueError: there is none of that name.
        """
        if identity is None:
            return next(iter(self._accounts.values()))
        account = self._accounts.get(identity)
        if account is None:
            raise ValueError(f"no account has the {self.kind.identity} {identity!r}")
        return account

    def all(self) -> list[A]:
        """Every account, the default first."""
        return list(self._accounts.values())


class Accounts:
    """The accounts at all four; with a `file` they are read from it and kept in it.

    Raises:
        ValueError: the file is not what this class wrote.
        OSError: it cannot be read or written.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        kept: dict[str, list[Any]] = {}
        if file is not None and file.exists():
            try:
                kept = json.loads(file.read_bytes())
            except ValueError as error:
                raise ValueError(f"{file}: {error}") from None
        self.twilio: Final = Book(TwilioAccount, _read(TwilioAccount, kept.get("twilio")))
        self.sendgrid: Final = Book(SendGridAccount, _read(SendGridAccount, kept.get("sendgrid")))
        self.fcm: Final = Book(FcmAccount, _read(FcmAccount, kept.get("fcm")))
        self.whatsapp: Final = Book(WhatsAppAccount, _read(WhatsAppAccount, kept.get("whatsapp")))
        self._save()

    def put(self, provider: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Add an account, or change some fields of the one with the same identity; as shown.

        Without its identity the default account is meant. May take a while: it may make a key.

        Raises:
            ValueError: there is no such provider, field or key.
        """
        book = self._book(provider)
        identity = fields.get(book.kind.identity)
        known = book.find(None) if identity is None else book.get(str(identity))
        merged = {**(_builtins(known) if known else {}), **fields}
        try:
            account = msgspec.convert(merged, book.kind)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None
        book.put(account)
        self._save()
        shown: dict[str, Any] = account.show()
        return shown

    def show(self) -> dict[str, list[dict[str, Any]]]:
        """Every account with its secrets: they are for this sandbox only."""
        return {
            provider: [account.show() for account in self._book(provider).all()]
            for provider in KINDS
        }

    def _book(self, provider: str) -> Book[Any]:
        if provider not in KINDS:
            raise ValueError(f"provider: expected one of {', '.join(KINDS)}, not {provider!r}")
        book: Book[Any] = getattr(self, provider)
        return book

    def _save(self) -> None:
        if self._file is None:
            return
        kept = {p: [_builtins(account) for account in self._book(p).all()] for p in KINDS}
        draft = self._file.with_suffix(".new")
        # For its owner only: it holds keys.
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as opened:
            json.dump(kept, opened, indent=1)
        draft.replace(self._file)


def _read(kind: type[A], kept: list[Any] | None) -> list[A] | None:
    try:
        return None if kept is None else [msgspec.convert(fields, kind) for fields in kept]
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def _builtins(account: Any) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(account)
    return shown


@functools.lru_cache(maxsize=64)
def _load(pem: str) -> Any:
    return serialization.load_pem_private_key(pem.encode(), None)


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _public_key(key: ec.EllipticCurvePrivateKey) -> str:
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(der).decode()
