"""What content rules find in texts, and what they let pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.content_rules import (
    CODES,
    MOST_FINDINGS,
    Action,
    ContentRules,
    Encoding,
    KeywordRule,
    LinkRules,
    check,
    hosts_in,
)
from domain.message import Category, Content, Template, Variant

SMS = frozenset({"sms"})
MAIL = frozenset({"email"})
HOSTS = ContentRules(links=LinkRules(hosts=("shop.example", "www.pay.example")))
WORDS = ContentRules(
    keywords=(
        KeywordRule(("free money", "casino")),
        KeywordRule(("sale",), Action.FLAG, (Category.TRANSACTIONAL,)),
    )
)


def found(rules, content, *, category=Category.TRANSACTIONAL, channels=SMS):
    """Code, action and field of each finding."""
    if isinstance(content, str):
        content = Content(content)
    findings = check(rules, content, category, channels).findings
    assert all(finding.code in CODES for finding in findings)
    return [(finding.code, finding.action.value, finding.field) for finding in findings]


UNFILLED = [("unfilled_placeholder", "refuse", "text")]


@pytest.mark.parametrize(
    "text",
    [
        "Hi {{name}}, welcome",
        "Hi {{ user.first_name }}",
        "{% if vip %}Hi",
        "Hi ${name}",
        "Hi %(name)s",
        "Hi <%= name %>",
        "Hi *|FNAME|*",
        "Hi ((first name))",
        "Hi [[name]]",
        "Hi {name}",
        "Your code: {0}",
        "Your code: {}",
        "Hi %s, your table",
        "%s",
        "Order %1$s",
        "Ready in %d minutes",
        "Hi %@",
    ],
)
def test_a_place_that_nobody_filled_is_refused(text: str):
    assert found(ContentRules(), text) == UNFILLED


@pytest.mark.parametrize(
    "text",
    [
        "Save 50% so fast",
        "Save 100%sure",
        "Up to 20%",
        "50%de descuento",
        "a {b, c} d",
        "(maybe (not))",
        "[1] see below",
        "Price: $5 {only today}",
        "100 %!",
        "{ }",
        "10% d",
    ],
)
def test_what_only_looks_like_a_place_passes(text: str):
    assert found(ContentRules(), text) == []


def test_a_style_sheet_is_no_place():
    html = "<style>p{color} a{}</style><p>100%s</p>"
    assert found(ContentRules(), Content("Hi", html=html), channels=MAIL) == []


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (Content("Hi", subject="For {{name}}"), "subject"),
        (Content("Hi", html="<p>{{name}}</p>"), "html"),
        (Content("Hi", variants={"email": Variant("Hi {{name}}")}), "variants/email/text"),
        (
            Content("Hi", template=Template("welcome", "en", ("Anna", "{{2}}"))),
            "template/parameters/1",
        ),
    ],
)
def test_places_are_looked_for_in_every_part(content: Content, field: str):
    assert found(ContentRules(), content) == [("unfilled_placeholder", "refuse", field)]


@pytest.mark.parametrize(
    ("action", "findings"), [("allow", []), ("flag", [("unfilled_placeholder", "flag", "text")])]
)
def test_a_tenant_decides_about_places(action: str, findings: list[object]):
    assert found(ContentRules(placeholders=Action(action)), "Hi {{name}}") == findings


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("see https://shop.example/a?b", ["shop.example"]),
        ("see http://WWW.Shop.Example.", ["shop.example"]),
        ("www.shop.example!", ["shop.example"]),
        ("bit.ly/3abc now", ["bit.ly"]),
        ("https://shop.example@evil.example/x", ["evil.example"]),
        ("https://shop.example:8443/", ["shop.example"]),
        ("https://evil.example\\@shop.example/x", ["evil.example"]),
        ("https:///evil.example/x", ["evil.example"]),
        ("(https://bit.ly) now", ["bit.ly"]),
        ("https://bit.ly!", ["bit.ly"]),
        ("https://b\u00adit.ly/x", ["bit.ly"]),
        ("https://ｓhop.example/", ["shop.example"]),  # noqa: RUF001
        ("https://xn--bcher-kva.example/", ["xn--bcher-kva.example"]),
        ("https://bücher.example/x", ["bücher.example"]),
        ("http://192.0.2.7/login", ["192.0.2.7"]),
        ("https://[::1", [""]),
        ("See you later.Bring cake", []),
        ("anna@shop.example/x", []),
        ("At 10.30/11.30", []),
        ("no link", []),
    ],
)
def test_which_hosts_a_text_leads_to(text: str, hosts: list[str]):
    assert list(hosts_in(text)) == hosts


@pytest.mark.parametrize(
    ("rules", "text", "category", "findings"),
    [
        (ContentRules(), "bit.ly/3abc", "transactional", [("link_shortened", "refuse", "text")]),
        (ContentRules(), "https://shop.example", "transactional", []),
        (ContentRules(), "https://shop.example", "otp", [("link_in_otp", "flag", "text")]),
        (HOSTS, "https://a.shop.example/x", "transactional", []),
        (HOSTS, "https://pay.example/x", "transactional", []),
        (
            HOSTS,
            "https://notshop.example",
            "transactional",
            [("link_not_allowed", "refuse", "text")],
        ),
        (
            HOSTS,
            "https://shop.example.evil",
            "transactional",
            [("link_not_allowed", "refuse", "text")],
        ),
        (
            ContentRules(links=LinkRules(shorteners=Action.ALLOW, otp=Action.REFUSE)),
            "bit.ly/3abc",
            "otp",
            [("link_in_otp", "refuse", "text")],
        ),
        (
            ContentRules(links=LinkRules(hosts=())),
            "www.x.example",
            "otp",
            [("link_not_allowed", "refuse", "text"), ("link_in_otp", "flag", "text")],
        ),
    ],
)
def test_links(rules: ContentRules, text: str, category: str, findings: list[object]):
    assert found(rules, text, category=Category(category)) == findings


@pytest.mark.parametrize(
    "href",
    [
        "https://evil.example/x",
        "//evil.example/x",
        "https:/evil.example/x",
        "&#104;ttps://evil.example/x",
        "  https://evil.example",
        "https:\\\\evil.example",
        "HTTPS://shop.example@EVIL.example",
    ],
)
def test_a_link_of_a_mail_is_read_as_a_browser_reads_it(href: str):
    mail = Content("Hi", html=f'<a class="b" href="{href}">x</a>')
    assert found(HOSTS, mail, channels=MAIL) == [("link_not_allowed", "refuse", "html")]


@pytest.mark.parametrize("href", ["mailto:a@evil.example", "#top", "/menu", "tel:+4520123456"])
def test_a_link_of_a_mail_that_leads_to_no_host(href: str):
    mail = Content("Hi", html=f'<a href="{href}">x</a>')
    assert found(HOSTS, mail, channels=MAIL) == []


def test_a_mail_may_shorten_links_but_not_lead_elsewhere():
    mail = Content("Hi", html='<a href="https://bit.ly/x">x</a><img src="https://cdn.example/i">')
    assert found(ContentRules(), mail, channels=MAIL) == []
    assert found(HOSTS, mail, channels=MAIL) == [("link_not_allowed", "refuse", "html")]


@pytest.mark.parametrize(
    ("text", "category", "findings"),
    [
        ("FREE  Money!", "otp", [("keyword", "refuse", "text")]),
        ("free\nmoney", "otp", [("keyword", "refuse", "text")]),
        ("ｃａｓｉｎｏ", "otp", [("keyword", "refuse", "text")]),  # noqa: RUF001
        ("ca\u00adsino", "otp", [("keyword", "refuse", "text")]),
        ("casinos", "otp", []),
        ("freemoney", "otp", []),
        ("Our sale begins", "transactional", [("keyword", "flag", "text")]),
        ("Our sale begins", "marketing", []),
    ],
)
def test_keywords_are_whole_words_however_written(text: str, category: str, findings: list[object]):
    assert found(WORDS, text, category=Category(category)) == findings


@pytest.mark.parametrize(
    ("rules", "length", "findings"),
    [
        (ContentRules(max_segments=2), 306, []),
        (ContentRules(max_segments=2), 307, [("text_too_long", "refuse", "text")]),
        (
            ContentRules(max_segments=2, too_long=Action.FLAG),
            307,
            [("text_too_long", "flag", "text")],
        ),
        (ContentRules(max_segments=2, too_long=Action.ALLOW), 307, []),
    ],
)
def test_length(rules: ContentRules, length: int, findings: list[object]):
    assert found(rules, "x" * length) == findings
    assert found(rules, "x" * length, channels=MAIL) == []


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("It\u2019s \u201cready\u201d \u2013 now\u2026", 'It\'s "ready" - now...'),
        ("plain \u20ac", "plain \u20ac"),
        ("\u2019 \u0416", "\u2019 \u0416"),  # saves nothing: it stays UCS-2
        ("na\u00efve\u2019s", "na\u00efve\u2019s"),
        ("Crème\u00a0brûlée", "Crème\u00a0brûlée"),
    ],
)
def test_typographic_characters_become_plain_where_that_saves_the_encoding(text: str, sent: str):
    rules = ContentRules(encoding=Encoding.ECONOMICAL)
    assert check(rules, Content(text), Category.OTP, SMS).content.text == sent
    assert check(ContentRules(), Content(text), Category.OTP, SMS).content.text == text
    assert check(rules, Content(text), Category.OTP, MAIL).content.text == text


@pytest.mark.parametrize(
    "text", ["a." * 30_000, "{" * 60_000, "www." * 15_000, "((a" * 20_000, "https://" * 8_000]
)
def test_no_text_takes_long_to_check(text: str):
    import time

    began = time.process_time()
    check(WORDS, Content(text), Category.OTP, SMS)
    assert time.process_time() - began < 1.0


PIECES = [
    "https://",
    "www.",
    "bit.ly",
    "/",
    "@",
    "\\",
    "{{",
    "}}",
    "%s",
    "href=",
    "[",
    ".",
    " ",
    "é",
]


EVERYTHING = {
    "links": (
        HOSTS,
        "https://a.example https://b.example/x https://shop.example https://a.example/y",
        [("link_not_allowed", "a.example"), ("link_not_allowed", "b.example")],
    ),
    "shorteners": (
        ContentRules(),
        "bit.ly/1 or t.co/2",
        [("link_shortened", "bit.ly"), ("link_shortened", "t.co")],
    ),
    "both rules of a link": (
        HOSTS,
        "bit.ly/1",
        [("link_not_allowed", "bit.ly"), ("link_shortened", "bit.ly")],
    ),
    "places": (
        ContentRules(),
        "Hi {{name}}, at %s",
        [
            ("unfilled_placeholder", "character 4 begins {{name}}"),
            ("unfilled_placeholder", "character 17 begins %s"),
        ],
    ),
    "words": (
        WORDS,
        "Casino! Free  money, casino",
        [("keyword", "casino"), ("keyword", "free  money")],
    ),
}


@pytest.mark.parametrize(("rules", "text", "findings"), EVERYTHING.values(), ids=EVERYTHING)
def test_everything_that_is_refused_is_told(rules, text, findings):
    checked = check(rules, Content(text), Category.TRANSACTIONAL, SMS)
    assert [(finding.code, finding.detail) for finding in checked.findings] == findings


@pytest.mark.parametrize("text", ["https://mine.example bit.ly/x", "bit.ly/x"])
@pytest.mark.parametrize("strict", ["shorteners", "otp"])
def test_a_link_that_is_flagged_hides_none_that_is_refused(text, strict):
    others = {"shorteners": Action.FLAG, "otp": Action.FLAG}
    rules = ContentRules(links=LinkRules(**{**others, strict: Action.REFUSE}))
    code = {"shorteners": "link_shortened", "otp": "link_in_otp"}[strict]
    assert (code, "refuse", "text") in found(rules, text, category=Category.OTP)


def test_a_rule_is_told_a_bounded_number_of_times():
    text = " ".join(f"https://h{n}.example" for n in range(1000))
    assert len(found(HOSTS, text)) == MOST_FINDINGS


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=20).map("".join))
def test_any_text_can_be_checked(text: str):
    rules = ContentRules(
        max_segments=1,
        encoding=Encoding.ECONOMICAL,
        links=HOSTS.links,
        keywords=WORDS.keywords,
    )
    content = Content(text, subject=text, html=text, variants={"push": Variant(text, text)})
    checked = check(rules, content, Category.OTP, frozenset({"sms", "email", "push"}))
    assert {finding.code for finding in checked.findings} <= set(CODES)
    again = check(rules, checked.content, Category.OTP, frozenset({"sms", "email", "push"}))
    assert again.content == checked.content
