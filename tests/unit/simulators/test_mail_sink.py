"""The mail sink, spoken to by aiosmtplib."""

import asyncio
import contextlib
from email.message import EmailMessage

import aiohttp
import aiosmtplib
import pytest

from infra.simulators.mail_sink import MailSink, Options, behaviour_of, page
from tests.waiting import eventually


def mail(to="ann@example.com", subject="Hello", text="Hi Ann", html=None):
    message = EmailMessage()
    message["From"] = "hermes@example.com"
    message["To"] = to
    message["Subject"] = subject
    message["Message-ID"] = "<1@example.com>"
    message.set_content(text)
    if html is not None:
        message.add_alternative(html, subtype="html")
    return message


@pytest.fixture
async def start():
    """Start a sink: its object, its SMTP port, the URL of its control port."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(options=None):
            sink = MailSink(options)
            port, control = await sink.start()
            stack.push_async_callback(sink.stop)
            return sink, port, f"http://127.0.0.1:{control}"

        yield start


async def send(port, message, **more):
    return await aiosmtplib.send(
        message, hostname="127.0.0.1", port=port, **{"start_tls": False, **more}
    )


async def get(url, path, **params):
    async with aiohttp.ClientSession(url) as http, http.get(path, params=params) as response:
        return await response.json()


async def test_a_mail_is_kept(start):
    _, port, url = await start()
    await send(port, mail(subject="Blåbærgrød", html="<p>Hi <b>Ann</b></p>"))
    [message] = (await get(url, "/messages"))["messages"]
    assert message["message_id"] == "<1@example.com>"
    assert (message["from"], message["to"]) == ("hermes@example.com", ["ann@example.com"])
    assert message["subject"] == "Blåbærgrød"
    assert message["text"].strip() == "Hi Ann"
    assert message["html"].strip() == "<p>Hi <b>Ann</b></p>"
    assert (message["tls"], message["authenticated_as"]) == (False, None)
    assert ["To", "ann@example.com"] in message["headers"]


async def test_messages_are_found_by_recipient(start):
    sink, port, url = await start()
    for name in ("ann", "bob", "ann"):
        await send(port, mail(to=f"{name}@example.com"))
    assert len((await get(url, "/messages", to="Ann@example.com"))["messages"]) == 2
    assert len((await get(url, "/messages", limit="1"))["messages"]) == 1
    assert (await get(url, "/stats"))["accepted"] == 3
    async with aiohttp.ClientSession(url) as http:
        async with http.get("/messages", params={"limit": "x"}) as response:
            assert response.status == 400
        async with http.post("/reset") as response:
            assert response.status == 200
    assert (await get(url, "/messages"))["messages"] == []
    assert sink.counters.accepted == 0


@pytest.mark.parametrize(
    ("local_part", "code", "status"),
    [("bounce", 550, "5.1.1"), ("bounce+x", 550, "5.1.1"), ("busy", 451, "4.3.0")],
)
async def test_the_recipient_selects_the_refusal(start, local_part, code, status):
    _, port, url = await start()
    for _ in range(2):
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as caught:
            await send(port, mail(to=f"{local_part}@example.com"))
        [refused] = caught.value.recipients
        assert refused.code == code
        assert refused.message.startswith(status)
    assert (await get(url, "/messages"))["messages"] == []


async def test_a_slow_recipient_is_answered_late_but_kept_at_once(start):
    sink, port, _ = await start(Options(slow_delay=0.2))
    began = asyncio.get_running_loop().time()
    sending = asyncio.ensure_future(send(port, mail(to="slow@example.com")))
    await eventually(lambda: sink.mails)
    assert not sending.done()
    await sending
    assert asyncio.get_running_loop().time() - began >= 0.2


def test_any_other_recipient_is_accepted():
    for address in ("ann@example.com", "ann@bounce.example", "unbounce@example.com"):
        assert behaviour_of(address).description == "accepted"


async def test_login_is_required_when_asked_for(start):
    _, port, url = await start(Options(username="hermes", password="secret"))
    with pytest.raises(aiosmtplib.SMTPException):
        await send(port, mail())
    with pytest.raises(aiosmtplib.SMTPAuthenticationError):
        await send(port, mail(), username="hermes", password="wrong")
    await send(port, mail(), username="hermes", password="secret")
    [message] = (await get(url, "/messages"))["messages"]
    assert message["authenticated_as"] == "hermes"
    stats = await get(url, "/stats")
    assert stats["logins"] == 1
    # A client tries every mechanism it knows before it gives up.
    assert stats["logins_refused"] >= 1


async def test_any_login_will_do_when_none_is_required(start):
    sink, port, _ = await start()
    await send(port, mail(), username="anyone", password="anything")
    assert [kept.authenticated_as for kept in sink.mails] == ["anyone"]


async def test_starttls(start, authority, certificate):
    tls = certificate.context()
    _, port, url = await start(
        Options(username="hermes", password="secret", tls=tls, require_tls=True)
    )
    with pytest.raises(aiosmtplib.SMTPException):
        await send(port, mail())
    trusted = authority.client_trust()
    await send(
        port, mail(), start_tls=True, tls_context=trusted, username="hermes", password="secret"
    )
    [message] = (await get(url, "/messages"))["messages"]
    assert (message["tls"], message["authenticated_as"]) == (True, "hermes")


async def test_the_page_escapes_everything(start):
    _, port, url = await start()
    evil = "<script>alert(1)</script>"
    await send(port, mail(subject=evil, text=evil, html=f"{evil}'\""))
    async with aiohttp.ClientSession(url) as http, http.get("/") as response:
        shown = await response.text()
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)" in shown
    assert "sandbox=''" in shown


def test_an_empty_page():
    assert "No mail yet" in page([], total=0)


MALFORMED = [
    b"",
    b"\r\n",
    b"Subject: =?utf-8?q?=ff=fe?=\r\n\r\nx",
    b"Subject: \xff\xfe\r\n\r\n\xff\xfe",
    b"Content-Type: text/plain; charset=nonsense\r\n\r\nx",
    b"Content-Type: multipart/mixed\r\n\r\nno parts",
    b"Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n%%%",
    b"Message-ID: <[broken\r\nSubject: ok\r\n\r\nx",
]


@pytest.mark.parametrize("content", MALFORMED)
async def test_a_malformed_mail_is_shown_all_the_same(start, content):
    _, port, url = await start()
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
    async with client:
        await client.sendmail("a@example.com", ["b@example.com"], content)
    [message] = (await get(url, "/messages"))["messages"]
    assert message["to"] == ["b@example.com"]
    async with aiohttp.ClientSession(url) as http, http.get("/") as response:
        assert response.status == 200
