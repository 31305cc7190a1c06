"""The mail as it is written."""

import email
import email.policy
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.email import composing
from adapters.email.composing import compose

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
HEADERS = {
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "Content-Type",
    "Content-Transfer-Encoding",
    "MIME-Version",
}


def composed(request):
    """The mail as a receiver reads it."""
    mail = compose(request, "Hermes <noreply@hermes.example>", "hermes.example", AT)
    return email.message_from_bytes(mail.content, policy=email.policy.default), mail.content


def test_headers(request_for):
    mail, _ = composed(request_for())
    assert {name: str(value) for name, value in mail.items()} == {
        "From": "Hermes <noreply@hermes.example>",
        "To": "anna@example.com",
        "Subject": "Hello",
        "Date": "Sun, 01 Mar 2026 12:30:00 +0000",
        "Message-ID": "<msg_1.1@hermes.example>",
        "Auto-Submitted": "auto-generated",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "7bit",
        "MIME-Version": "1.0",
    }


def test_no_recipient_but_one(request_for):
    mail, octets = composed(request_for())
    assert [str(a) for a in mail["To"].addresses] == ["anna@example.com"]
    assert "Bcc" not in mail
    assert "Cc" not in mail
    assert b"acme" not in octets


def test_each_attempt_has_a_message_id_of_its_own(request_for):
    assert composed(request_for(attempt=2))[0]["Message-ID"] == "<msg_1.2@hermes.example>"


def test_html_is_the_alternative(request_for):
    mail, _ = composed(request_for(text="Hej Ærø", html="<p>Hej <b>Ærø</b></p>"))
    assert mail.get_content_type() == "multipart/alternative"
    plain, html = mail.iter_parts()
    assert (plain.get_content_type(), plain.get_content().strip()) == ("text/plain", "Hej Ærø")
    assert (html.get_content_type(), html.get_content().strip()) == (
        ("text/html", "<p>Hej <b>Ærø</b></p>")
    )


@pytest.mark.parametrize(
    "text",
    [
        "Hej Ærø\nog farvel",
        "日本語 🫐",
        "x" * 2000,
        ".\n..\n. a line of dots",
        "From here\n>From there",
        "tabs\tand trailing  \nspaces  ",
        "a=b =3D =",
    ],
)
def test_text_arrives_as_it_was(request_for, text):
    mail, octets = composed(request_for(text=text))
    assert mail.get_content().replace("\r\n", "\n").rstrip("\n") == text.rstrip("\n")
    assert octets.isascii()
    assert max(map(len, octets.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("subject", ["Blåbærgrød 🫐", "Hello", "ü" * 200, "=?utf-8?q?no?="])
def test_subject_arrives_as_it_was(request_for, subject):
    mail, octets = composed(request_for(subject=subject))
    assert mail["Subject"] == subject or subject.startswith("=?")
    head = octets.partition(b"\r\n\r\n")[0]
    assert head.isascii()
    assert max(map(len, head.split(b"\r\n"))) <= 78


@pytest.mark.parametrize(
    ("sender", "name", "address"),
    [
        ("bakery@example.com", "", "bakery@example.com"),
        ("Bageriet Å <bakery@example.com>", "Bageriet Å", "bakery@example.com"),
        ('"Bakery, Inc." <bakery@example.com>', "Bakery, Inc.", "bakery@example.com"),
    ],
)
def test_sender(request_for, sender, name, address):
    [found] = composed(request_for(sender=sender))[0]["From"].addresses
    assert (found.display_name, found.addr_spec) == (name, address)


def test_lines_end_as_smtp_wants_them(request_for):
    _, octets = composed(request_for(text="one\ntwo\r\nthree", html="<p>\n</p>"))
    assert b"\n" not in octets.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    "wrong",
    [
        {"subject": "Hi\nBcc: eve@example.com"},
        {"subject": "Hi\rBcc: eve@example.com"},
        {"to": "anna@example.com\nBcc: eve@example.com"},
        {"sender": "A\nBcc: eve@example.com <a@example.com>"},
        {"subject": "=?utf-8?q?a=0D=0ABcc:_eve@example.com?="},
        {"subject": "=?utf-8?b?YQ0KQmNjOiBldmVAZXhhbXBsZS5jb20=?="},
        {"subject": "=?utf-8?q?a=0D=0A=0D=0AAnother_body?="},
        {"sender": "=?utf-8?q?a=0D=0ABcc:_eve@example.com?= <a@example.com>"},
        {"sender": "=?utf-8?q?a=0D=0Ab?= <a@example.com>"},
        {"to": "=?utf-8?q?a=0D=0ABcc:_eve?=@example.com"},
    ],
    ids=ascii,
)
def test_no_header_can_be_smuggled_in(request_for, wrong):
    try:
        mail, octets = composed(request_for(**wrong))
    except ValueError:
        return
    assert "Bcc" not in mail
    assert b"\nBcc:" not in octets
    assert set(mail.keys()) == HEADERS
    assert mail.get_content().strip() == "Hi Anna"


@pytest.mark.parametrize("header", ["subject", "sender"])
def test_control_characters_in_encoded_words_are_refused(request_for, header):
    value = "=?utf-8?q?a=0D=0Ab?="
    with pytest.raises(ValueError, match="control character"):
        composed(request_for(**{header: value if header == "subject" else f"{value} <a@b.dk>"}))


def test_a_long_link_to_unsubscribe_stays_whole(request_for):
    """Encoded words, by which the library would fold it, are no address to any program."""
    link = f"https://hermes.example/unsubscribe/{'x' * 300}"
    sender = "Hermes <noreply@hermes.example>"
    octets = compose(request_for(), sender, "hermes.example", AT, link).content
    assert f"List-Unsubscribe:\r\n <{link}>\r\n".encode() in octets
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in octets


_PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
_ANYTHING = st.characters(codec="utf-8")
_TEXTS = st.lists(
    st.text(st.one_of(_PRINTABLE, st.sampled_from("\t\r\x0b\x0c\x1c\x85"), _ANYTHING), max_size=90)
).map("\n".join)


@given(
    to=st.one_of(st.emails(), st.just("anna@example.com")),
    subject=st.one_of(st.text(_PRINTABLE, max_size=90), st.text(_ANYTHING, max_size=20)),
    text=st.one_of(_TEXTS, st.text(_PRINTABLE | st.just("\n"))),
    domain=st.sampled_from(["hermes.example", "x" * 60 + ".example"]),
)
@example(to="a@example.com", subject="=?utf-8?q?x?=", text="Hi", domain="hermes.example")
@example(to="=?utf-8?q?a?=@b.dk", subject="Hi", text="Hi", domain="hermes.example")
@example(to="a@example.com", subject="Hi", text="", domain="hermes.example")
@example(to="a@example.com", subject="Hi", text="\n", domain="hermes.example")
@example(to="a@example.com", subject="Hi", text="one\n\ntwo\n\n", domain="hermes.example")
@example(to="a@example.com", subject="Hi", text="From me\n.\n", domain="hermes.example")
@example(to="a@example.com", subject="x" * 70, text="x" * 79, domain="hermes.example")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_put_together_here_is_what_the_library_writes(
    request_for, to, subject, text, domain
):
    request = request_for(to, subject=subject, text=text)
    header, _ = composing._from("Hermes <noreply@hermes.example>")
    message_id = f"<msg_1.1@{domain}>"
    short = composing._short(request, header, message_id, AT)
    if short is not None:
        sender = "Hermes <noreply@hermes.example>"
        assert short == composing._written(request, sender, message_id, AT, None)


def test_an_ordinary_mail_takes_no_library(request_for, monkeypatch):
    def never(*_):
        raise AssertionError

    monkeypatch.setattr(composing, "_written", never)
    text = "Hi Anna,\n\nyour code is 4711.\n\tThe bakery"
    _, octets = composed(request_for(subject="Your code: 4711", text=text))
    assert octets.endswith(b"\r\n\r\n" + text.replace("\n", "\r\n").encode() + b"\r\n")
