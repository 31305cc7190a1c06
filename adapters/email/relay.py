"""Any SMTP server as a relay: RFC 5321 submission with STARTTLS or TLS, and AUTH."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Literal

import aiosmtplib

from domain.delivery import DeliveryRequest, Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.message import Level

PROVIDER = "smtp"

TlsMode = Literal["none", "starttls", "implicit"]


@dataclass(frozen=True, slots=True)
class RelayAccount:
    """How to reach the relay. `timeout` in seconds, for each command; `domain` is the right-hand
    side of our Message-IDs."""

    host: str
    port: int
    sender: str
    domain: str
    tls: TlsMode = "starttls"
    ca_file: Path | None = None
    username: str | None = None
    password: str | None = None
    timeout: float = 20.0


_PERMANENT_REPLIES: dict[int, FailureCode] = {
    # RFC 5321 section 4.2.3, and RFC 4954 section 6 for authentication.
    530: FailureCode.CONFIGURATION,
    535: FailureCode.CONFIGURATION,
    538: FailureCode.CONFIGURATION,
    550: FailureCode.RECIPIENT_INVALID,
    551: FailureCode.RECIPIENT_INVALID,
    553: FailureCode.RECIPIENT_INVALID,
    552: FailureCode.CONTENT_REJECTED,
    554: FailureCode.PROVIDER_REJECTED,
}


class Relay:
    """Hands mails to one relay, a connection each."""

    def __init__(self, account: RelayAccount) -> None:
        self._account = account
        self._tls: ssl.SSLContext | None = None
        if account.tls != "none":
            self._tls = ssl.create_default_context(cafile=account.ca_file)

    async def deliver(self, request: DeliveryRequest) -> Submission:
        """Send one mail. The relay's acceptance is `sent`; no receipt will follow."""
        begun_at = datetime.now(UTC)
        if begun_at >= request.not_after:
            return _answer(begun_at, Failure(FailureCode.TOO_LATE))
        mail = compose(request, self._account.sender, self._account.domain, begun_at)
        handed_over = False
        client = self._client()
        try:
            await client.connect()
            if self._account.username is not None:
                await client.login(self._account.username, self._account.password or "")
            handed_over = True
            await client.send_message(mail)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            return _failure(error, begun_at, handed_over=handed_over)
        finally:
            await _hang_up(client)
        return Submission(
            SubmissionState.TAKEN,
            at=datetime.now(UTC),
            begun_at=begun_at,
            provider=PROVIDER,
            level=Level.SENT,
            provider_ids=(str(mail["Message-ID"]),),
        )

    def _client(self) -> aiosmtplib.SMTP:
        account = self._account
        return aiosmtplib.SMTP(
            hostname=account.host,
            port=account.port,
            timeout=account.timeout,
            use_tls=account.tls == "implicit",
            start_tls=account.tls == "starttls",
            tls_context=self._tls,
        )


def compose(request: DeliveryRequest, sender: str, domain: str, at: datetime) -> EmailMessage:
    """The mail: text, and HTML as its alternative. The Message-ID names the attempt, so that a
    receiver can tell a repetition. `at` is the Date header."""
    mail = EmailMessage(policy=SMTP)
    name, address = parseaddr(request.sender or sender)
    mail["From"] = Address(name, addr_spec=address)
    mail["To"] = Address(addr_spec=request.to)
    mail["Subject"] = request.content.subject or ""
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = f"<{request.message}.{request.attempt}@{domain}>"
    # RFC 3834: not to be answered by machines.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(request.content.text)
    if request.content.html is not None:
        mail.add_alternative(request.content.html, subtype="html")
    return mail


def _failure(error: Exception, begun_at: datetime, *, handed_over: bool) -> Submission:
    match error:
        case aiosmtplib.SMTPRecipientsRefused(recipients=[refused, *_]):
            return _refused(refused.code, refused.message, begun_at)
        case aiosmtplib.SMTPResponseException(code=code, message=message) if code > 0:
            return _refused(code, message, begun_at)
        case aiosmtplib.SMTPNotSupported():
            return _answer(begun_at, Failure(FailureCode.CONFIGURATION, detail=str(error)))
        case ssl.SSLError():
            detail = f"TLS: {error.reason or error}"
            return _answer(begun_at, Failure(FailureCode.CONFIGURATION, detail=detail))
        case _ if handed_over:
            # The connection went or fell silent in the middle: the mail may be on its way.
            return _answer(begun_at, Failure(FailureCode.OUTCOME_UNKNOWN, detail=_name(error)))
        case _:
            return _answer(begun_at, Failure(FailureCode.PROVIDER_UNAVAILABLE, detail=_name(error)))


def _refused(code: int, message: str, begun_at: datetime) -> Submission:
    permanent = code >= 500
    default = FailureCode.PROVIDER_REJECTED if permanent else FailureCode.PROVIDER_ERROR
    return _answer(
        begun_at,
        Failure(
            _PERMANENT_REPLIES.get(code, default),
            provider_code=str(code),
            detail=message[:200] or None,
        ),
    )


def _answer(begun_at: datetime, failure: Failure) -> Submission:
    unknown = failure.code is FailureCode.OUTCOME_UNKNOWN
    return Submission(
        SubmissionState.UNKNOWN if unknown else SubmissionState.FAILED,
        at=datetime.now(UTC),
        begun_at=begun_at,
        provider=PROVIDER,
        failure=failure,
    )


def _name(error: Exception) -> str:
    return type(error).__name__


async def _hang_up(client: aiosmtplib.SMTP) -> None:
    # The mail's fate is decided; a relay that is slow to say goodbye is not waited for.
    try:
        async with asyncio.timeout(1.0):
            if client.is_connected:
                await client.quit()
    except (aiosmtplib.SMTPException, OSError, TimeoutError):
        client.close()
