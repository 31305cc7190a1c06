"""What a tenant lets go out in its name: length, links, words, places that nobody filled.

The rules see the text that a person would, after a template is rendered. What they find is either
refused or flagged: a flag lets the message go and stands in its timeline.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from enum import Enum
from functools import lru_cache
from html import unescape
from itertools import islice
from typing import Annotated, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from domain.message import Category, Content
from domain.sms.economy import economical
from domain.sms.segmentation import count_segments

CODES: Final[dict[str, str]] = {
    "text_too_long": "The text needs more SMS segments than the tenant's rules allow.",
    "unfilled_placeholder": (
        "A place that a value should have filled is still in the text, such as {{name}} or %s."
    ),
    "link_shortened": (
        "The text has a link of a public shortener. Carriers block them, since nobody can see "
        "where they lead: use a link of your own domain."
    ),
    "link_not_allowed": "The text has a link to a host that the tenant's rules do not allow.",
    "link_in_otp": "A one-time password travels without links: they are what phishing looks like.",
    "keyword": "The text has words that the tenant's rules name.",
}
"""Every code of a finding."""

SHORTENERS: Final = frozenset(
    {
        "bit.ly",
        "bitly.com",
        "buff.ly",
        "cutt.ly",
        "goo.gl",
        "is.gd",
        "lnkd.in",
        "ow.ly",
        "rb.gy",
        "rebrand.ly",
        "s.id",
        "shorturl.at",
        "short.io",
        "t.co",
        "t.ly",
        "tiny.cc",
        "tinyurl.com",
        "trib.al",
        "tr.im",
        "u.to",
        "v.gd",
        "x.co",
    }
)
"""Hosts that anybody can shorten links at: carriers' guidelines (CTIA Messaging Principles and
Best Practices, 5.3.4) forbid them in business messages."""


class Action(str, Enum):
    """What becomes of a message that a rule finds something in."""

    ALLOW = "allow"
    FLAG = "flag"
    REFUSE = "refuse"


class Encoding(str, Enum):
    """What to do about characters that make an SMS travel as UCS-2, in more segments."""

    KEEP = "keep"
    ECONOMICAL = "economical"  # typographic ones become plain where that saves the encoding


Host = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=253,
        pattern=r"^[^\s/:@]+$",
        description="A host without scheme, port and path.",
        examples=["shop.example"],
    ),
]
Word = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=100, pattern=r"\S", description="A word or phrase, not blank."
    ),
]


class KeywordRule(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Words or phrases, compared whole, whatever their case. Without `categories`: in all."""

    words: Annotated[tuple[Word, ...], msgspec.Meta(min_length=1, max_length=500)]
    action: Action = Action.REFUSE
    categories: tuple[Category, ...] = ()


class LinkRules(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which links a text may have.

    `hosts`, where given, are the only ones, with everything below them. `shorteners` and `otp`
    say what becomes of links at public shorteners and of any in an SMS with a one-time password.
    """

    hosts: Annotated[tuple[Host, ...], msgspec.Meta(max_length=500)] | None = None
    shorteners: Action = Action.REFUSE
    otp: Action = Action.FLAG


class ContentRules(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A tenant's rules. `max_segments` is for SMS, and `too_long` what a longer text meets;
    the channel itself takes at most ten."""

    max_segments: Annotated[int, msgspec.Meta(ge=1, le=10)] = 10
    too_long: Action = Action.REFUSE
    encoding: Encoding = Encoding.KEEP
    placeholders: Action = Action.REFUSE
    links: LinkRules = LinkRules()
    keywords: Annotated[tuple[KeywordRule, ...], msgspec.Meta(max_length=100)] = ()


MOST_FINDINGS: Final = 20
"""Findings of one rule in one part of the content: whoever has more has seen enough."""


class Finding(NamedTuple):
    """What a rule found. `field` is the part of the content."""

    code: str
    action: Action
    field: str
    detail: str


class Checked(NamedTuple):
    """The content as the rules leave it, and what they found in it."""

    content: Content
    findings: list[Finding]


def check(
    rules: ContentRules, content: Content, category: Category, channels: frozenset[str]
) -> Checked:
    """Apply the rules to a message that goes over these channels."""
    findings: list[Finding] = []
    if "sms" in channels:
        content = _as_sms(rules, content, findings)
    parts = _parts(content)
    if rules.placeholders is not Action.ALLOW:
        _placeholders(rules.placeholders, parts, findings)
    _links(rules.links, parts, category, channels, findings)
    if rules.keywords:
        _keywords(rules.keywords, parts, category, findings)
    return Checked(content, findings)


class _Part(NamedTuple):
    """A part of the content that a person reads: its field, its text, whether that is HTML."""

    field: str
    text: str
    html: bool = False


def _parts(content: Content) -> list[_Part]:
    parts = [_Part("text", content.text)]
    if content.subject:
        parts.append(_Part("subject", content.subject))
    if content.html:
        parts.append(_Part("html", content.html, html=True))
    for channel, variant in content.variants.items():
        if variant.text:
            parts.append(_Part(f"variants/{channel}/text", variant.text))
        if variant.subject:
            parts.append(_Part(f"variants/{channel}/subject", variant.subject))
    if content.template is not None:
        parts += [
            _Part(f"template/parameters/{place}", text)
            for place, text in enumerate(content.template.parameters)
        ]
    return parts


# --- length and encoding ----------------------------------------------------------------------


def _as_sms(rules: ContentRules, content: Content, findings: list[Finding]) -> Content:
    text = content.text
    if rules.encoding is Encoding.ECONOMICAL and not text.isascii():
        plain = economical(text)
        if plain is not None:
            content = msgspec.structs.replace(content, text=plain)
    if rules.max_segments < 10 and rules.too_long is not Action.ALLOW:
        encoding, segments = count_segments(content.text)
        if segments > rules.max_segments:
            detail = f"{segments} segments in {encoding}; the tenant's most is {rules.max_segments}"
            findings.append(Finding("text_too_long", rules.too_long, "text", detail))
    return content


# --- placeholders -----------------------------------------------------------------------------

# A text is searched for these only when it has one of the characters that they begin with.
_MARKS: Final = re.compile(r"[{%\[$<*(]")
_UNFILLED: Final = re.compile(
    r"""
      \{\{ [^{}\n]{0,100} \}\}                      # {{name}}: Mustache, Jinja, Handlebars
    | \{% [^{}%\n]{0,100} %\}                       # {% if %}: Jinja, Liquid
    | \$\{ [A-Za-z_][\w.]{0,100} \}                 # ${name}: shells, JavaScript, Java
    | %\( [A-Za-z_]\w{0,100} \) [sdfi]              # %(name)s: Python
    | <%= [^%<>\n]{0,100} %>                        # <%= name %>: ERB
    | \*\| [A-Z][A-Z0-9_:]{0,100} \|\*              # *|FNAME|*: Mailchimp
    | \(\( [A-Za-z][^()\n]{0,100} \)\)              # ((name)): GOV.UK Notify
    | \[\[ [A-Za-z_][^\[\]\n]{0,100} \]\]           # [[name]]
    """,
    re.VERBOSE,
)
# Of these an HTML text is full: style sheets have braces, and widths are written 100%.
_UNFILLED_IN_TEXT: Final = re.compile(
    _UNFILLED.pattern
    + r"""
    | \{ (?: [A-Za-z_][\w.]{0,100} | [0-9]? ) \}    # {name}, {0}, {}: Python, .NET, ICU
    | (?<![\w%]) % (?: [1-9]\$ )? (?: [sd]\b | @ )         # %s, %1$s, %d: printf
    """,
    re.VERBOSE,
)


def _placeholders(action: Action, parts: list[_Part], findings: list[Finding]) -> None:
    for field, text, html in parts:
        if _MARKS.search(text) is None:
            continue
        unfilled = (_UNFILLED if html else _UNFILLED_IN_TEXT).finditer(text)
        for found in islice(unfilled, MOST_FINDINGS):
            detail = f"character {found.start() + 1} begins {found[0][:40]}"
            findings.append(Finding("unfilled_placeholder", action, field, detail))


# --- links ------------------------------------------------------------------------------------

# With a scheme or www., or a host that a path follows. "later.Bring" is no link.
_LINK: Final = re.compile(
    r"""
      (?P<url> https?:// [^\s<>"']+ )
    | (?<![\w@.-]) (?P<bare> www\. [^\s<>"'/?\#]+ | (?:[\w-]+\.)+ [^\W\d_]{2,24} (?=/[\w-]) )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_HREF: Final = re.compile(
    r"""\bhref\s*=\s*["']?\s*(?P<url>(?:https?:|[/\\]{2})[^\s<>"']+)""", re.IGNORECASE
)
_BEFORE_HOST: Final = re.compile(r"(?:https?:)?[/\\]*", re.IGNORECASE)
_AFTER_LINK: Final = ".,;:!?)"
_OF_MAILS: Final = frozenset(("subject", "html", "variants/email/text", "variants/email/subject"))
_TELEPHONES: Final = frozenset(("sms", "whatsapp"))


def hosts_in(text: str) -> Iterator[str]:
    """The hosts of all links in a plain text, in lower case and without www."""
    if "." not in text and "://" not in text:
        return
    for found in _LINK.finditer(text):
        host = _host(found["url"]) if found["url"] else found["bare"].rstrip(_AFTER_LINK)
        yield _bare(host)


def _hosts_in_html(html: str) -> Iterator[str]:
    # As a browser reads it: &#104; is an h.
    for found in _HREF.finditer(unescape(html) if "&" in html else html):
        yield _bare(_host(found["url"]))


def _host(url: str) -> str:
    r"""The host that a browser would go to: https://bank.example@evil.example leads to the second,
    https://evil.example\@bank.example to the first, and so does https:/evil.example. Empty where
    there is none."""
    rest = _BEFORE_HOST.sub("", url, count=1)
    try:
        return urlsplit("//" + rest.replace("\\", "/").rstrip(_AFTER_LINK)).hostname or ""
    except ValueError:
        return ""


def _bare(host: str) -> str:
    # As browsers do: a full-width letter leads to the same host as the plain one.
    return _fold(host).removeprefix("www.").rstrip(".")


def _links(
    rules: LinkRules,
    parts: list[_Part],
    category: Category,
    channels: frozenset[str],
    findings: list[Finding],
) -> None:
    for field, text, html in parts:
        if not html and "." not in text and "://" not in text:
            continue
        counts: Counter[str] = Counter()
        # Each host once: a mail repeats its links.
        for host in dict.fromkeys(_hosts_in_html(text) if html else hosts_in(text)):
            for finding in _link(rules, host, field, category, channels):
                counts[finding.code] += 1
                if counts[finding.code] <= MOST_FINDINGS:
                    findings.append(finding)


def _link(
    rules: LinkRules, host: str, field: str, category: Category, channels: frozenset[str]
) -> Iterator[Finding]:
    shown = host[:100] or "an address that leads nowhere"
    to_telephone = field not in _OF_MAILS and not channels.isdisjoint(_TELEPHONES)
    if rules.hosts is not None and not _covered(host, rules.hosts):
        yield Finding("link_not_allowed", Action.REFUSE, field, shown)
    if to_telephone and rules.shorteners is not Action.ALLOW and host in SHORTENERS:
        yield Finding("link_shortened", rules.shorteners, field, shown)
    if to_telephone and rules.otp is not Action.ALLOW and category is Category.OTP:
        yield Finding("link_in_otp", rules.otp, field, shown)


def _covered(host: str, allowed: tuple[str, ...]) -> bool:
    return any(host == one or host.endswith("." + one) for one in map(_bare, allowed))


# --- keywords ---------------------------------------------------------------------------------


def _keywords(
    rules: tuple[KeywordRule, ...],
    parts: list[_Part],
    category: Category,
    findings: list[Finding],
) -> None:
    for field, text, _ in parts:
        folded = _fold(text)
        for rule in rules:
            if rule.action is Action.ALLOW or (rule.categories and category not in rule.categories):
                continue
            words = dict.fromkeys(found[0][:100] for found in _words(rule.words)(folded))
            findings.extend(
                Finding("keyword", rule.action, field, word)
                for word in islice(words, MOST_FINDINGS)
            )


def _fold(text: str) -> str:
    """One spelling for what a person reads as the same: full-width letters, case, soft hyphens
    and other characters that take no room."""
    if text.isascii():
        return text.lower()
    normal = unicodedata.normalize("NFKC", text)
    return "".join(c for c in normal if unicodedata.category(c) != "Cf").casefold()


@lru_cache(maxsize=4096)
def _words(words: tuple[str, ...]) -> Callable[[str], Iterator[re.Match[str]]]:
    # Any white space stands for any other; words end where letters and digits do.
    spelled = (r"\s+".join(map(re.escape, _fold(word).split())) for word in words)
    longest_first = sorted(spelled, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)").finditer
