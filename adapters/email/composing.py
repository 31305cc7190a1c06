"""The mail as it is written: RFC 5322 headers, a text, and HTML as its alternative.

The standard library writes any mail, at half a millisecond each. Most that are sent need nothing
of what it can do: a text of short ASCII lines, and headers that are neither folded nor encoded.
Those are put together here, octet for octet the same (tests/unit/email/test_composing.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import format_datetime, parseaddr
from functools import lru_cache
from typing import Any, Final

from domain.delivery import DeliveryRequest

_LINE: Final = 78
"""Characters of a line, at most, that are written as they are. RFC 5322 section 2.1.1."""
_ATEXT: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_PLAIN_ADDRESS: Final = re.compile(
    rf"(?!.*=\?){_ATEXT}(?:\.{_ATEXT})*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"
)
"""A dot-atom at a host's name. RFC 5322 section 3.4.1."""
_PLAIN_SUBJECT: Final = re.compile(r"(?!.*=\?)[!-~](?:[!-~ ]*[!-~])?")
_PLAIN_TEXT: Final = re.compile(r"(?:[\t -~]{0,78}\n)*[\t -~]{0,78}")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""All but the tab."""
_SENDERS: Final = 1_000
_REST: Final = (
    'Content-Type: text/plain; charset="utf-8"\r\n'
    "Content-Transfer-Encoding: 7bit\r\n"
    "MIME-Version: 1.0\r\n"
    "\r\n"
)


@dataclass(frozen=True, slots=True)
class Mail:
    """The octets of a mail, the address that it comes back to, and its Message-ID."""

    content: bytes
    return_path: str
    message_id: str


def compose(
    request: DeliveryRequest,
    sender: str,
    domain: str,
    at: datetime,
    unsubscribe: str | None = None,
) -> Mail:
    """The mail from `sender`, unless the request has one. The Message-ID names the attempt, so that
    a receiver can tell a repetition. `at` is the Date header, `unsubscribe` a one-click link.

    Raises ValueError, or IndexError or MessageError of the library's, when a header cannot be
    written.
    """
    header, return_path = _from(request.sender or sender)
    message_id = f"<{request.message}.{request.attempt}@{domain}>"
    # SMTPUTF8 is not relied upon.
    f"{return_path} {request.to}".encode("ascii")
    content = None if unsubscribe else _short(request, header, message_id, at)
    if content is None:
        content = _written(request, request.sender or sender, message_id, at, unsubscribe)
    return Mail(content, return_path, message_id)


def _short(request: DeliveryRequest, header: str, message_id: str, at: datetime) -> bytes | None:
    """The mail without the library, None when it takes that."""
    subject, text = request.content.subject or "", request.content.text
    if not (
        request.content.html is None
        and len("To: ") + len(request.to) <= _LINE
        and len("Subject: ") + len(subject) <= _LINE
        and len("Message-ID: ") + len(message_id) <= _LINE
        and message_id.isascii()
        and _PLAIN_ADDRESS.fullmatch(request.to)
        and _PLAIN_SUBJECT.fullmatch(subject)
        and _PLAIN_TEXT.fullmatch(text)
    ):
        return None
    body = text.removesuffix("\n").replace("\n", "\r\n")
    mail = (
        f"{header}To: {request.to}\r\n"
        f"Subject: {subject}\r\n"
        f"Date: {format_datetime(at)}\r\n"
        f"Message-ID: {message_id}\r\n"
        f"Auto-Submitted: auto-generated\r\n"
        f"{_REST}{body}\r\n"
    )
    return mail.encode("ascii")


def _written(
    request: DeliveryRequest,
    sender: str,
    message_id: str,
    at: datetime,
    unsubscribe: str | None,
) -> bytes:
    """The mail as the library writes it."""
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = _address(sender)
    mail["To"] = Address(addr_spec=request.to)
    mail["Subject"] = request.content.subject or ""
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = message_id
    # RFC 3834: not to be answered by machines.
    mail["Auto-Submitted"] = "auto-generated"
    if unsubscribe is not None:
        # RFC 8058. Whoever signs by DKIM has to cover both.
        mail["List-Unsubscribe"] = f"<{unsubscribe}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail.set_content(request.content.text)
    if request.content.html is not None:
        mail.add_alternative(request.content.html, subtype="html")
    content = mail.as_bytes()
    _check(content.partition(b"\r\n\r\n")[0], mail.keys())
    return content


@lru_cache(_SENDERS)
def _from(sender: str) -> tuple[str, str]:
    """The From header as the library writes it, and the address in it."""
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = _address(sender)
    header = mail["From"].fold(policy=_POLICY)
    _check(header.encode().removesuffix(b"\r\n"), ["From"])
    return header, mail["From"].addresses[0].addr_spec


def _check(head: bytes, names: Sequence[str]) -> None:
    """Raises ValueError when a head has others than these headers, or a control character. The
    library refuses those that it is given, but decodes encoded words (RFC 2047) and writes what was
    in them as it is, line ends too."""
    lines = head.split(b"\r\n")
    found = [line.partition(b":")[0] for line in lines if line[:1] not in (b" ", b"\t")]
    if found != [name.encode() for name in names] or any(map(_CONTROL.search, lines)):
        raise ValueError("a header has a control character")


def _address(sender: str) -> Address:
    name, address = parseaddr(sender)
    return Address(name, addr_spec=address)


class _Whole(UnstructuredHeader, BaseHeader):
    """A header of ours that is ASCII on one line. The library would make encoded words of a long
    address to fold it, which no program takes for an address; a line may have 998 characters."""

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        """Take the value as it is."""
        kwds["parse_tree"] = cls.value_parser("")
        kwds["decoded"] = value

    def fold(self, *, policy: Policy) -> str:
        """The header as it is, on a line of its own behind its name where it is long."""
        fits = len(self.name) + 2 + len(self) <= (policy.max_line_length or 0)
        return f"{self.name}:{'' if fits else policy.linesep} {self}{policy.linesep}"


class _Headers(HeaderRegistry):
    """Types of headers, each made once: the library makes one at every mention of a name, which is
    a third of a mail's cost. Nothing but names of ours is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[str, type[BaseHeader]] = {}
        for name in _OURS:
            self.map_to_type(name, _Whole)

    def __getitem__(self, name: str) -> type[BaseHeader]:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = super().__getitem__(name)
        return made


_OURS: Final = (
    "date",
    "message-id",
    "auto-submitted",
    "list-unsubscribe",
    "list-unsubscribe-post",
)
_POLICY: Final = SMTP.clone(cte_type="7bit", header_factory=_Headers())
"""Nothing in a mail needs a relay to understand more than RFC 5321."""
