"""Any SMTP server as a relay: RFC 5321 submission with STARTTLS or TLS, and AUTH."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import MessageError
from pathlib import Path
from typing import Literal

import aiosmtplib

from adapters.email.composing import compose
from adapters.email.sessions import AT_ONCE, Session, Sessions
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
    side of our Message-IDs, `sessions` how many mails may be on their way at once."""

    host: str
    port: int
    sender: str
    domain: str
    tls: TlsMode = "starttls"
    ca_file: Path | None = None
    username: str | None = None
    password: str | None = None
    timeout: float = 20.0
    sessions: int = AT_ONCE


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
    """Hands mails to one relay, one after the other over kept connections. `unsubscribe` gives the
    link by which a recipient ends what he is sent, where a mail needs one."""

    def __init__(
        self,
        account: RelayAccount,
        unsubscribe: UnsubscribeLink = lambda request, channel: None,
    ) -> None:
        self._account = account
        self._unsubscribe = unsubscribe
        self._hostname = socket.getfqdn()  # it may ask the DNS: once, not for every mail
        self._sessions = Sessions(self._connect, account.sessions)
        self._tls: ssl.SSLContext | None = None
        if account.tls != "none":
            self._tls = ssl.create_default_context(cafile=account.ca_file)

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait until the relay may be given another mail, and have it for so long."""
        return self._sessions.turn()

    async def deliver(self, request: DeliveryRequest) -> Submission:
        """Send one mail, when it has its turn. The relay's acceptance is `sent`; no receipt will
        follow."""
        begun_at = datetime.now(UTC)
        if begun_at >= request.not_after:
            return _answer(begun_at, Failure(FailureCode.TOO_LATE))
        if request.provider not in (None, PROVIDER):
            return _answer(begun_at, Failure(FailureCode.NOT_SUPPORTED, detail="no such provider"))
        account = self._account
        try:
            link = self._unsubscribe(request, "email")
            mail = compose(request, account.sender, account.domain, begun_at, link)
        except (ValueError, IndexError, MessageError) as error:
            return _answer(begun_at, Failure(FailureCode.CONTENT_REJECTED, detail=str(error)))
        handed_over = False
        session: Session | None = None
        try:
            session = await self._sessions.begin(mail.return_path)
            await session.client.rcpt(request.to)
            handed_over = True
            await session.client.data(mail.content)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            if session is not None:
                self._sessions.leave(session)
            return _failure(error, begun_at, handed_over=handed_over)
        except BaseException:
            if session is not None:
                session.client.close()
            raise
        self._sessions.keep(session)
        return Submission(
            SubmissionState.TAKEN,
            at=datetime.now(UTC),
            begun_at=begun_at,
            provider=PROVIDER,
            level=Level.SENT,
            provider_ids=(mail.message_id,),
        )

    async def close(self) -> None:
        """Say goodbye to the relay."""
        await self._sessions.close()

    async def _connect(self) -> aiosmtplib.SMTP:
        account = self._account
        client = aiosmtplib.SMTP(
            hostname=account.host,
            port=account.port,
            timeout=account.timeout,
            use_tls=account.tls == "implicit",
            start_tls=account.tls == "starttls",
            tls_context=self._tls,
            local_hostname=self._hostname,
        )
        try:
            await client.connect()
            if account.username is not None:
                await client.login(account.username, account.password or "")
        except BaseException:
            client.close()
            raise
        return client


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
