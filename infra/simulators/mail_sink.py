"""A mailbox that takes every mail and delivers none: `python -m infra.simulators.mail_sink`.

The local part of a recipient chooses what happens (BEHAVIOURS). The control port shows the mails:

    GET  /                the newest mails, for people
    GET  /messages?to=…   the same as JSON, oldest first, the newest 200 (`limit` up to 10,000)
    GET  /stats           counters
    POST /reset           forget all of it
"""

import argparse
import asyncio
import email
import email.policy
import itertools
import logging
import ssl
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from html import escape
from pathlib import Path
from typing import Any, Final, cast

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from aiosmtpd.smtp import Session as SmtpSession
from msgspec import Struct

from infra.simulators.process import ControlServer, run

_log = logging.getLogger(__name__)

MAX_MAILS: Final = 10_000
MAX_BYTES: Final = 256 * 1024 * 1024
"""Octets kept in all; the oldest mails make room."""
MAX_MAIL: Final = 10 * 1024 * 1024
"""Octets in one mail; a larger one is refused with 552."""
DEFAULT_LIMIT: Final = 200
PAGE_LIMIT: Final = 100
_PARSED_AT_ONCE: Final = 50


class Behaviour(Struct, frozen=True):
    """What happens to a recipient: `reply` refuses it; a `slow` one answers late."""

    description: str
    reply: str | None = None
    slow: bool = False


BEHAVIOURS: Final[dict[str, Behaviour]] = {
    "bounce": Behaviour("550 5.1.1, for good", reply="550 5.1.1 No such mailbox here"),
    "busy": Behaviour("451 4.3.0, every time", reply="451 4.3.0 Mailbox busy, try again later"),
    "slow": Behaviour("accepted, and answered after --slow-delay", slow=True),
}
"""By what the local part begins with; anything else is accepted at once."""

ACCEPTED: Final = Behaviour("accepted")


def behaviour_of(address: str) -> Behaviour:
    """What the sink does for a recipient."""
    local_part = address.lower()
    for prefix, behaviour in BEHAVIOURS.items():
        if local_part.startswith(prefix):
            return behaviour
    return ACCEPTED


class Mail(Struct, frozen=True):
    """One mail as it came, unparsed: most are never looked at."""

    received_at: float
    sender: str
    recipients: list[str]
    content: bytes
    tls: bool
    authenticated_as: str | None

    def as_json(self) -> dict[str, Any]:
        """For the control port; `from` and `to` are the envelope's."""
        message = email.message_from_bytes(self.content, policy=_POLICY)
        return {
            "message_id": _header(message, "message-id"),
            "from": self.sender,
            "to": self.recipients,
            "subject": _header(message, "subject"),
            "headers": [[name, _text(value)] for name, value in message.raw_items()],
            "text": _body(message, "plain"),
            "html": _body(message, "html"),
            "received_at": datetime.fromtimestamp(self.received_at, UTC).isoformat(),
            "tls": self.tls,
            "authenticated_as": self.authenticated_as,
        }


class Counters(Struct):
    """What `/stats` counts, since the start or the last reset."""

    accepted: int = 0
    recipients_refused: int = 0
    recipients_deferred: int = 0
    logins: int = 0
    logins_refused: int = 0


class Options(Struct, frozen=True, kw_only=True):
    """How a sink behaves.

    With `username`, a client must log in, otherwise any login will do; with `tls`, it may use
    STARTTLS, and must when `require_tls` is set. `slow_delay` is seconds.
    """

    username: str | None = None
    password: str = ""
    tls: ssl.SSLContext | None = None
    require_tls: bool = False
    slow_delay: float = 5.0


class MailSink:
    """An SMTP server that keeps what it is given. Made on a running loop; `start` opens its ports.

    Its `handle_*` methods are aiosmtpd's hooks.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.options: Final = options or Options()
        self.counters = Counters()
        self.mails: deque[Mail] = deque()
        self._bytes = 0
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._control = ControlServer(
            [
                web.get("/", self._get_page),
                web.get("/messages", self._get_messages),
                web.get("/stats", self._get_stats),
                web.post("/reset", self._post_reset),
            ]
        )

    async def start(
        self, host: str = "127.0.0.1", port: int = 0, control_port: int = 0
    ) -> tuple[int, int]:
        """Listen for mail and for control requests; the two ports bound.

        Raises:
            OSError: a port is taken.
        """
        self._server = await self._loop.create_server(self._new_connection, host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        bound_control = await self._control.start(host, control_port)
        _log.info("mail sink: %s:%d, mails at http://%s:%d/", host, bound, host, bound_control)
        return bound, bound_control

    async def stop(self) -> None:
        """Cut every connection and close the ports."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await self._control.stop()

    def reset(self) -> None:
        """Forget every mail and counter."""
        self.mails.clear()
        self._bytes = 0
        self.counters = Counters()

    # -- SMTP -----------------------------------------------------------------------------------

    def _new_connection(self) -> "_Connection":
        options = self.options
        return _Connection(
            self._connections,
            self,
            hostname="localhost",
            ident="Hermes mail sink",
            data_size_limit=MAX_MAIL,
            enable_SMTPUTF8=True,
            loop=self._loop,
            tls_context=options.tls,
            require_starttls=options.require_tls,
            auth_required=options.username is not None,
            auth_require_tls=options.require_tls,
            authenticator=self._authenticate,
        )

    def _authenticate(
        self, server: SMTP, session: SmtpSession, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        options = self.options
        if isinstance(data, LoginPassword) and (
            options.username is None
            or (data.login, data.password) == (options.username.encode(), options.password.encode())
        ):
            self.counters.logins += 1
            return AuthResult(success=True, auth_data=data.login.decode("utf-8", "replace"))
        self.counters.logins_refused += 1
        return AuthResult(success=False, handled=False)

    async def handle_RCPT(  # noqa: N802
        self,
        server: SMTP,
        session: SmtpSession,
        envelope: Envelope,
        address: str,
        rcpt_options: list[str],
    ) -> str:
        """Accept or refuse one recipient."""
        reply = behaviour_of(address).reply
        if reply is None:
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(rcpt_options)
            return "250 2.1.5 OK"
        if reply.startswith("4"):
            self.counters.recipients_deferred += 1
        else:
            self.counters.recipients_refused += 1
        return reply

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: SmtpSession, envelope: Envelope
    ) -> str:
        """Keep one mail; a slow recipient's is kept at once and answered late."""
        content = envelope.content or b""
        if isinstance(content, str):
            content = content.encode()
        self._keep(
            Mail(
                time.time(),
                _text(envelope.mail_from or ""),
                [_text(address) for address in envelope.rcpt_tos],
                content,
                session.ssl is not None,
                session.auth_data if session.authenticated else None,
            )
        )
        if any(behaviour_of(address).slow for address in envelope.rcpt_tos):
            await asyncio.sleep(self.options.slow_delay)
        return "250 2.0.0 OK"

    def _keep(self, mail: Mail) -> None:
        self.counters.accepted += 1
        self.mails.append(mail)
        self._bytes += len(mail.content)
        while len(self.mails) > MAX_MAILS or self._bytes > MAX_BYTES:
            self._bytes -= len(self.mails.popleft().content)

    # -- control --------------------------------------------------------------------------------

    async def messages(self, *, to: str | None = None, limit: int) -> list[dict[str, Any]]:
        """The newest `limit` mails, oldest first; only those with the envelope recipient `to`."""
        wanted = to.lower() if to is not None else None
        newest = (
            mail
            for mail in reversed(self.mails)
            if wanted is None or wanted in (address.lower() for address in mail.recipients)
        )
        chosen = list(itertools.islice(newest, limit))
        messages: list[dict[str, Any]] = []
        for mail in reversed(chosen):
            messages.append(mail.as_json())
            if len(messages) % _PARSED_AT_ONCE == 0:
                # Parsing is slow, and SMTP clients wait meanwhile.
                await asyncio.sleep(0)
        return messages

    async def _get_messages(self, request: web.Request) -> web.Response:
        try:
            limit = min(int(request.query.get("limit", DEFAULT_LIMIT)), MAX_MAILS)
        except ValueError:
            raise web.HTTPBadRequest(text="limit is a number") from None
        messages = await self.messages(to=request.query.get("to"), limit=max(limit, 0))
        return web.json_response({"messages": messages})

    async def _get_stats(self, _: web.Request) -> web.Response:
        counters = self.counters
        return web.json_response(
            {
                **{name: getattr(counters, name) for name in counters.__struct_fields__},
                "kept": len(self.mails),
                "connections": len(self._connections),
            }
        )

    async def _post_reset(self, _: web.Request) -> web.Response:
        self.reset()
        return web.json_response({})

    async def _get_page(self, _: web.Request) -> web.Response:
        messages = await self.messages(limit=PAGE_LIMIT)
        return web.Response(
            text=page(messages, total=len(self.mails)),
            content_type="text/html",
            headers={"Content-Security-Policy": _CONTENT_SECURITY_POLICY},
        )


class _Connection(SMTP):
    """One client's connection, findable while it lasts."""

    def __init__(self, connections: "set[_Connection]", handler: MailSink, **options: Any) -> None:
        super().__init__(handler, **options)
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        super().connection_lost(error)

    def abort(self) -> None:
        # aiosmtpd says BaseTransport, which has no abort.
        cast(asyncio.Transport, self.transport).abort()


# -- reading mails ----------------------------------------------------------------------------

_POLICY = email.policy.default


def _text(value: Any) -> str:
    # Undecodable octets become lone surrogates, which HTML cannot carry.
    return str(value).encode("utf-8", "replace").decode()


def _header(message: EmailMessage, name: str) -> str:
    """A header as people read it; as it stands when it cannot be parsed, empty without it."""
    try:
        return _text(message.get(name, ""))
    except Exception:  # the parser raises all sorts of things on malformed headers
        return next((_text(v) for k, v in message.raw_items() if k.lower() == name), "")


def _body(message: EmailMessage, subtype: str) -> str | None:
    """The first part of `text/subtype` that is no attachment; None without one."""
    for part in message.walk():
        if part.get_content_type() != f"text/{subtype}" or part.is_attachment():
            continue
        payload = part.get_payload(decode=True)
        if not isinstance(payload, bytes):
            return None
        charset = part.get_content_charset() or "utf-8"
        try:
            return payload.decode(charset, "replace")
        except LookupError:
            return payload.decode("latin-1")
    return None


# -- the page ---------------------------------------------------------------------------------

# A mail's own HTML is shown in a sandboxed frame, which inherits this policy: it runs no script
# and loads nothing.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-src 'self'"
)

_STYLE = """
:root { color-scheme: light dark; --line: #8883; --dim: #888; --accent: #3a6ea5; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 2rem 1rem; }
header { display: flex; align-items: baseline; gap: 1rem; margin-bottom: 1.5rem; }
h1 { font-size: 1.3rem; margin: 0; }
header span, .meta, time { color: var(--dim); font-size: .87rem; }
details { border: 1px solid var(--line); border-radius: .5rem; margin-bottom: .5rem; }
summary { display: grid; grid-template-columns: 1fr auto; gap: 0 1rem; padding: .6rem .9rem;
  cursor: pointer; list-style: none; }
summary::-webkit-details-marker { display: none; }
details[open] summary { border-bottom: 1px solid var(--line); }
.subject { font-weight: 600; overflow-wrap: anywhere; }
.meta { grid-column: 1 / -1; overflow-wrap: anywhere; }
.badge { border: 1px solid var(--accent); color: var(--accent); border-radius: 1rem;
  padding: 0 .5rem; font-size: .75rem; margin-left: .4rem; }
pre { margin: 0; padding: .9rem; white-space: pre-wrap; overflow-wrap: anywhere; }
iframe { width: 100%; height: 24rem; border: 0; border-top: 1px solid var(--line);
  background: #fff; border-radius: 0 0 .5rem .5rem; }
.empty { text-align: center; color: var(--dim); padding: 4rem 0; }
"""


def page(messages: Sequence[dict[str, Any]], *, total: int) -> str:
    """The newest mails first, as one self-contained HTML page."""
    mails = "".join(_mail(message) for message in reversed(messages))
    shown = f"{len(messages)} of {total}" if total > len(messages) else f"{total}"
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>Mail sink</title><style>{_STYLE}</style></head><body>"
        f"<header><h1>Mail sink</h1><span>{shown} mails, none of them delivered</span></header>"
        + (mails or "<p class='empty'>No mail yet.</p>")
        + "</body></html>"
    )


def _mail(message: dict[str, Any]) -> str:
    badges = ""
    if message["tls"]:
        badges += "<span class='badge'>TLS</span>"
    if message["authenticated_as"] is not None:
        badges += f"<span class='badge'>{escape(message['authenticated_as'])}</span>"
    body = ""
    if message["text"] is not None:
        body += f"<pre>{escape(message['text'])}</pre>"
    if message["html"] is not None:
        body += f"<iframe sandbox='' title='HTML' srcdoc=\"{escape(message['html'])}\"></iframe>"
    received_at = escape(message["received_at"])
    return (
        "<details><summary>"
        f"<span class='subject'>{escape(message['subject'] or '(no subject)')}{badges}</span>"
        f"<time datetime='{received_at}'>{received_at[11:19]}</time>"
        f"<span class='meta'>{escape(message['from'] or '<>')} → {escape(', '.join(message['to']))}"
        f"</span></summary>{body or '<pre>(no text)</pre>'}</details>"
    )


# -- the command line -------------------------------------------------------------------------


def _parse_arguments() -> argparse.Namespace:
    table = "\n".join(f"  {p + '…@':10}{b.description}" for p, b in BEHAVIOURS.items())
    parser = argparse.ArgumentParser(
        prog="python -m infra.simulators.mail_sink",
        description="A mailbox that takes every mail and delivers none.",
        epilog=f"the recipient chooses what happens:\n{table}\n  other     {ACCEPTED.description}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=1025)
    add("--control-port", type=int, default=8025)
    add("--username", help="require AUTH with this name and --password")
    add("--password", default="")
    add("--tls-certificate", type=Path, metavar="PATH", help="offer STARTTLS with it (PEM)")
    add("--tls-key", type=Path, metavar="PATH", help="its key, if in a file of its own")
    add("--require-tls", action="store_true", help="refuse mail, and AUTH, before STARTTLS")
    add("--slow-delay", type=float, default=Options().slow_delay, metavar="SECONDS")
    arguments = parser.parse_args()
    if arguments.require_tls and arguments.tls_certificate is None:
        parser.error("--require-tls needs --tls-certificate")
    return arguments


def main() -> None:
    """The command line."""
    arguments = _parse_arguments()
    tls = None
    if arguments.tls_certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(arguments.tls_certificate, arguments.tls_key)
    options = Options(
        username=arguments.username,
        password=arguments.password,
        tls=tls,
        require_tls=arguments.require_tls,
        slow_delay=arguments.slow_delay,
    )
    logging.getLogger("mail.log").setLevel(logging.ERROR)

    async def start() -> MailSink:
        sink = MailSink(options)
        await sink.start(arguments.host, arguments.port, arguments.control_port)
        return sink

    run(start)


if __name__ == "__main__":
    main()
