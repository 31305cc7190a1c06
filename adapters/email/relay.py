"""Any SMTP server as a relay: RFC 5321 submission with STARTTLS or TLS, and AUTH."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Literal

import aiosmtplib

from domain.delivery import DeliveryRequest, Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.message import Level

PROVIDER = "smtp"

UnsubscribeLink = Callable[[DeliveryRequest, str], str | None]
"""Of a request and its channel."""

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


class _Whole(UnstructuredHeader, BaseHeader):
    """A header whose one long word is an address. The library would make encoded words of it to
    fold it, which no program takes for an address; a line may have 998 characters."""

    def fold(self, *, policy: Policy) -> str:
        """The header as it is, on a line of its own behind its name."""
        return f"{self.name}:{policy.linesep} {self}{policy.linesep}"


_HEADERS = HeaderRegistry()
_HEADERS.map_to_type("list-unsubscribe", _Whole)
_POLICY = SMTP.clone(cte_type="7bit", header_factory=_HEADERS)
"""Nothing in a mail needs a relay to understand more than RFC 5321."""

_PERMANENT_REPLIES: dict[int, FailureCode] = {
    # RFC 5321 section 4.2.3, and RFC 4954 section 6 for authentication.
    530: FailureCode.CONFIGURATION,
    535: FailureCode.CONFIGURATION,
    538: FailureCode.CONFIGURATION,
    552: FailureCode.CONTENT_REJECTED,
    554: FailureCode.PROVIDER_REJECTED,
}
_MAILBOX_REPLIES = frozenset({550, 551, 553})
"""RFC 5321 section 4.2.3 calls them "mailbox", and servers say 550 to all that they do not want:
what was refused is what the command was about."""
_REFUSED_BY_COMMAND: dict[type[Exception], FailureCode] = {
    aiosmtplib.SMTPSenderRefused: FailureCode.SENDER_REJECTED,
    aiosmtplib.SMTPRecipientRefused: FailureCode.RECIPIENT_INVALID,
    aiosmtplib.SMTPDataError: FailureCode.CONTENT_REJECTED,
}
_OF_THE_SENDER = re.compile(r"\s*5\.1\.[78]\b")
"""RFC 3463: the sender's mailbox or host is bad. Servers that look at it late say so at RCPT."""


class Relay:
    """Hands mails to one relay, a connection each. `unsubscribe` gives the link by which a
    recipient ends what he is sent, where a mail needs one."""

    def __init__(
        self,
        account: RelayAccount,
        unsubscribe: UnsubscribeLink = lambda request, channel: None,
    ) -> None:
        self._account = account
        self._unsubscribe = unsubscribe
        self._hostname = socket.getfqdn()  # it may ask the DNS: once, not for every mail
        self._tls: ssl.SSLContext | None = None
        if account.tls != "none":
            self._tls = ssl.create_default_context(cafile=account.ca_file)

    async def deliver(self, request: DeliveryRequest) -> Submission:
        """Send one mail. The relay's acceptance is `sent`; no receipt will follow."""
        begun_at = datetime.now(UTC)
        if begun_at >= request.not_after:
            return _answer(begun_at, Failure(FailureCode.TOO_LATE))
        if request.provider not in (None, PROVIDER):
            return _answer(begun_at, Failure(FailureCode.NOT_SUPPORTED, detail="no such provider"))
        account = self._account
        try:
            link = self._unsubscribe(request, "email")
            mail = compose(request, account.sender, account.domain, begun_at, link)
            content = mail.as_bytes()
            return_path = mail["From"].addresses[0].addr_spec
            f"{return_path} {request.to}".encode("ascii")  # SMTPUTF8 is not relied upon
        except (ValueError, IndexError, MessageError) as error:
            return _answer(begun_at, Failure(FailureCode.CONTENT_REJECTED, detail=str(error)))
        handed_over = False
        client = self._client()
        try:
            await client.connect()
            if account.username is not None:
                await client.login(account.username, account.password or "")
            await client.mail(return_path)
            await client.rcpt(request.to)
            handed_over = True
            await client.data(content)
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
            local_hostname=self._hostname,
        )


def compose(
    request: DeliveryRequest,
    sender: str,
    domain: str,
    at: datetime,
    unsubscribe: str | None = None,
) -> EmailMessage:
    """The mail: text, and HTML as its alternative. The Message-ID names the attempt, so that a
    receiver can tell a repetition. `at` is the Date header, `unsubscribe` a one-click link."""
    mail = EmailMessage(policy=_POLICY)
    name, address = parseaddr(request.sender or sender)
    mail["From"] = Address(name, addr_spec=address)
    mail["To"] = Address(addr_spec=request.to)
    mail["Subject"] = request.content.subject or ""
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = f"<{request.message}.{request.attempt}@{domain}>"
    # RFC 3834: not to be answered by machines.
    mail["Auto-Submitted"] = "auto-generated"
    if unsubscribe is not None:
        # RFC 8058. Whoever signs by DKIM has to cover both.
        mail["List-Unsubscribe"] = f"<{unsubscribe}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail.set_content(request.content.text)
    if request.content.html is not None:
        mail.add_alternative(request.content.html, subtype="html")
    return mail


def _failure(error: Exception, begun_at: datetime, *, handed_over: bool) -> Submission:
    match error:
        case aiosmtplib.SMTPResponseException(code=code) if code > 0:
            return _refused(error, begun_at)
        case ssl.SSLError() | OSError(__cause__=ssl.SSLError()):
            # aiosmtplib wraps what goes wrong in a handshake.
            cause = error if isinstance(error, ssl.SSLError) else error.__cause__
            detail = f"TLS: {cause}"
            return _answer(begun_at, Failure(FailureCode.CONFIGURATION, detail=detail))
        case aiosmtplib.SMTPException() if type(error) is aiosmtplib.SMTPException:
            # The relay lacks an extension that the account asks for: STARTTLS, AUTH.
            return _answer(begun_at, Failure(FailureCode.CONFIGURATION, detail=str(error)))
        case _ if handed_over:
            # The connection went or fell silent in the middle: the mail may be on its way.
            return _answer(begun_at, Failure(FailureCode.OUTCOME_UNKNOWN, detail=_name(error)))
        case _:
            return _answer(begun_at, Failure(FailureCode.PROVIDER_UNAVAILABLE, detail=_name(error)))


def _refused(error: aiosmtplib.SMTPResponseException, begun_at: datetime) -> Submission:
    return _answer(
        begun_at,
        Failure(
            _meaning(error),
            provider_code=str(error.code),
            detail=error.message[:200] or None,
        ),
    )


def _meaning(error: aiosmtplib.SMTPResponseException) -> FailureCode:
    if error.code < 500:
        return FailureCode.PROVIDER_ERROR
    if error.code not in _MAILBOX_REPLIES:
        return _PERMANENT_REPLIES.get(error.code, FailureCode.PROVIDER_REJECTED)
    if _OF_THE_SENDER.match(error.message):
        return FailureCode.SENDER_REJECTED
    return _REFUSED_BY_COMMAND.get(type(error), FailureCode.PROVIDER_REJECTED)


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
