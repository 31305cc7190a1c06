"""What the email channel takes."""

import pytest

from domain.channels import CHANNELS, AddressProblem, ContentProblem, SenderProblem
from domain.message import Content

EMAIL = CHANNELS["email"]

NORMAL_FORMS = {
    "plain": ("anna@example.com", "anna@example.com"),
    "domain_in_capitals": ("Anna@EXAMPLE.com", "Anna@example.com"),
    "tag": ("anna+tag@example.com", "anna+tag@example.com"),
    "development_domain": ("anna@hermes.example", "anna@hermes.example"),
    "test_domain": ("anna@hermes.test", "anna@hermes.test"),
    "international_domain": ("anna@bücher.de", "anna@xn--bcher-kva.de"),
}
NOT_ADDRESSES = {
    "empty": "",
    "no_at": "anna.example.com",
    "no_domain": "anna@",
    "no_local_part": "@example.com",
    "two_ats": "anna@b@example.com",
    "dotless_domain": "anna@localhost",
    "space": "an na@example.com",
    "display_name": "Anna <anna@example.com>",
    "header_injection": "anna@example.com\r\nBcc: eve@example.com",
    "two_addresses": "anna@example.com,eve@example.com",
    "quoted": '"anna smith"@example.com',
    "address_literal": "anna@[127.0.0.1]",
    "local_part_outside_ascii": "bjørn@example.com",
    "too_long": "a" * 65 + "@example.com",
}


@pytest.mark.parametrize(("raw", "normal"), NORMAL_FORMS.values(), ids=NORMAL_FORMS)
def test_an_address_gets_its_normal_form(raw, normal):
    assert EMAIL.parse_address(raw) == normal
    assert EMAIL.parse_address(normal) == normal


@pytest.mark.parametrize("raw", NOT_ADDRESSES.values(), ids=NOT_ADDRESSES)
def test_what_is_no_address_is_refused(raw):
    with pytest.raises(AddressProblem) as refusal:
        EMAIL.parse_address(raw)
    assert refusal.value.code == "invalid_email_address"


def test_a_missing_subject_is_the_first_line_of_the_text():
    prepared = EMAIL.prepare(Content("\n Your table is ready. \nSee you soon."))
    assert prepared.subject == "Your table is ready."


def test_a_derived_subject_is_cut_to_78_characters():
    subject = EMAIL.prepare(Content("word " * 40)).subject
    assert subject is not None
    assert len(subject) <= 78
    assert subject.endswith("wo…")


def test_a_derived_subject_holds_no_control_characters():
    assert EMAIL.prepare(Content("a\x07b\tc")).subject == "a b c"


def test_preparing_twice_changes_nothing_more():
    once = EMAIL.prepare(Content("Hello"))
    assert EMAIL.prepare(once) == once


def test_html_alone_is_content():
    assert EMAIL.prepare(Content("", html="<p>Hello</p>")).subject == ""


SUBJECTS_REFUSED = {
    "line_break": "Hello\r\nBcc: eve@example.com",
    "unicode_line_break": "Hello\u2028Bcc",
    "too_long": "x" * 256,
}


@pytest.mark.parametrize("subject", SUBJECTS_REFUSED.values(), ids=SUBJECTS_REFUSED)
def test_a_subject_that_could_break_the_header_is_refused(subject):
    with pytest.raises(ContentProblem) as refusal:
        EMAIL.prepare(Content("Hello", subject))
    assert (refusal.value.code, refusal.value.field) == ("invalid_subject", "subject")


def test_emoji_of_several_code_points_are_a_fine_subject():
    content = Content("Hello", "👩‍💻 deployed")
    assert EMAIL.prepare(content) == content


def test_nothing_to_read_is_refused():
    with pytest.raises(ContentProblem) as refusal:
        EMAIL.prepare(Content(" ", "Hello", " "))
    assert refusal.value.code == "empty_text"


@pytest.mark.parametrize("sender", ["anna@example.com", "Hermes <noreply@hermes.example>"])
def test_a_sender_is_an_address_with_or_without_a_name(sender):
    assert EMAIL.parse_sender(sender) == sender


@pytest.mark.parametrize(
    "sender", ["", "Hermes", "Hermes <>", "H <a@example.com>\r\nBcc: b@c.de", "x" * 321]
)
def test_other_senders_are_refused(sender):
    with pytest.raises(SenderProblem) as refusal:
        EMAIL.parse_sender(sender)
    assert refusal.value.code == "invalid_email_sender"
