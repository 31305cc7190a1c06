"""What templates say: in which language, with which values, and what can never come of them."""

from __future__ import annotations

import contextlib
import time
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.message import Content, Template, Variant
from domain.sms.segmentation import count_segments
from domain.templates.definition import CODES, Compiled, Definition, Faulty, compiled
from domain.templates.values import FORMATS

WHERE = ("template", "variables")
ALL = ("sms", "email", "push", "whatsapp")


def template(text: str | None = None, variables: Any = None, **facts: Any) -> Compiled:
    """A template of one language, or of `languages`."""
    wording = {name: facts.pop(name) for name in list(facts) if name in WORDINGS}
    languages = facts.pop("languages", {"en": {"text": text, **wording}})
    raw = {
        "languages": languages,
        "default_language": next(iter(languages)),
        "variables": variables or {},
        **facts,
    }
    return compiled(msgspec.convert(raw, Definition))


WORDINGS = ("subject", "html", "data", "variants", "whatsapp")


def render(
    made: Compiled, values: Any = None, language: str | None = None, channels: Any = ALL
) -> Content:
    return made.render(made.language_for(language), made.values(values or {}, WHERE), channels)


def text_of(text: str, variables: Any, values: Any, language: str = "en", **facts: Any) -> str:
    made = template(variables=variables, languages={language: {"text": text}}, **facts)
    return render(made, values).text


WRITTEN = [
    ("text", "Anna", None, "en", "Anna"),
    ("code", "47 11", None, "en", "47 11"),
    ("url", "https://x.example/a?b=c", None, "en", "https://x.example/a?b=c"),
    ("number", 1234.5, None, "en", "1,234.5"),
    ("number", 1234.5, None, "da", "1.234,5"),
    ("number", "4.50", None, "da", "4,50"),
    ("number", 12, "plain", "da", "12"),
    ("number", -3, None, "sv", "-3"),
    ("number", 1234567, None, "fr", "1 234 567"),
    ("money", "1234.50 DKK", None, "da", "1.234,50 kr."),
    ("money", {"amount": "1234.50", "currency": "DKK"}, None, "da", "1.234,50 kr."),
    ("money", "1234.50 EUR", None, "de", "1.234,50 €"),
    ("money", "0.99 USD", None, "en-US", "$0.99"),
    ("money", "5000 JPY", None, "en", "¥5,000"),
    ("money", "7 EUR", "plain", "de", "7 EUR"),
    ("date", "2026-03-12", None, "en", "Mar 12, 2026"),
    ("date", "2026-03-12", "long", "da", "12. marts 2026"),
    ("date", "2026-03-12", "full", "de", "Donnerstag, 12. März 2026"),
    ("date", "2026-03-12", "iso", "da", "2026-03-12"),
    ("date", "2026-03-12", "time", "da", ""),
    ("date", "2026-03-12T23:30:00Z", "day", "da", "13. mar. 2026"),
    ("date", "2026-03-12T23:30:00Z", "time", "da", "00.30"),
    ("date", "2026-07-12T12:00:00+00:00", "short", "da", "12.07.2026 14.00"),
]


@pytest.mark.parametrize(("type_", "value", "format_", "language", "expected"), WRITTEN)
def test_a_value_reads_as_in_the_recipients_language(
    type_: str, value: Any, format_: str | None, language: str, expected: str
):
    place = "it" if format_ is None else f"it|{format_}"
    said = text_of(
        "<{{" + place + "}}>",
        {"it": {"type": type_}},
        {"it": value},
        language,
        time_zone="Europe/Copenhagen",
    )
    assert said == f"<{expected}>"


@pytest.mark.parametrize("language", ["da", "sv", "nb", "fr", "de", "en", "pl", "cs"])
def test_amounts_and_dates_do_not_make_an_sms_dearer(language: str):
    said = (
        text_of(
            "{{price}} {{number}} {{day|time}}",
            {"price": {"type": "money"}, "number": {"type": "number"}, "day": {"type": "date"}},
            {"price": "1234.50 SEK", "number": -1234.5, "day": "2026-03-12T14:30:00Z"},
            language,
        )
        .replace("zł", "zl")
        .replace("Kč", "Kc")
    )
    assert count_segments(said)[0] == "gsm7", said


REFUSED = [
    ("text", 7, "variable_wrong_type"),
    ("text", "x" * 501, "variable_too_long"),
    ("text", "a\x07b", "variable_wrong_type"),
    ("text", "a\u202eb", "variable_wrong_type"),
    ("number", "1e9", "variable_wrong_type"),
    ("number", True, "variable_wrong_type"),
    ("number", "1" * 16, "variable_wrong_type"),
    ("number", 1e300, "variable_wrong_type"),
    ("number", float("1e-300"), "variable_wrong_type"),
    ("date", "12/03/2026", "variable_wrong_type"),
    ("date", "2026-02-30", "variable_wrong_type"),
    ("date", "2026-03-12T14:30:00", "variable_wrong_type"),
    ("date", 1741790000, "variable_wrong_type"),
    ("date", "0001-01-01T00:00:00Z", "variable_wrong_type"),
    ("date", "9999-12-31T23:59:59-12:00", "variable_wrong_type"),
    ("date", "1899-12-31", "variable_wrong_type"),
    ("date", "9001-01-01", "variable_wrong_type"),
    pytest.param("number", 10**5000, "variable_wrong_type", id="a number of 5,000 digits"),
    ("number", float("nan"), "variable_wrong_type"),
    ("money", "12.50", "variable_wrong_type"),
    ("money", "12.50 XXY", "variable_wrong_type"),
    ("money", {"amount": "1"}, "variable_wrong_type"),
    ("money", {"amount": [], "currency": {}}, "variable_wrong_type"),
    ("money", {"amount": 10**5000, "currency": "EUR"}, "variable_wrong_type"),
    ("money", {"amount": True, "currency": "EUR"}, "variable_wrong_type"),
    ("text", "\ud800", "variable_wrong_type"),
    ("url", "javascript:alert(1)", "variable_wrong_type"),
    ("url", "//x.example", "variable_wrong_type"),
    ("url", "https://x.example/ a", "variable_wrong_type"),
    ("url", 'https://x.example/"onclick="', "variable_wrong_type"),
    ("url", "https://[", "variable_wrong_type"),
    ("url", "https://x.example/" + "a" * 2048, "variable_too_long"),
    ("code", 4711, "variable_wrong_type"),
    ("code", "47\n11", "variable_wrong_type"),
    ("code", "1" * 65, "variable_too_long"),
    ("text", ["a"], "variable_wrong_type"),
]


@pytest.mark.parametrize(("type_", "value", "code"), REFUSED)
def test_a_value_that_its_variable_does_not_take(type_: str, value: Any, code: str):
    made = template("{{it}}", {"it": {"type": type_}})
    with pytest.raises(Faulty) as refused:
        made.values({"it": value}, WHERE)
    assert [(f.code, f.path) for f in refused.value.faults] == [(code, (*WHERE, "it"))]


def test_all_faults_of_the_values_are_told_together():
    made = template("{{a}}{{b}}{{c}}", {"a": {}, "b": {"type": "number"}, "c": {"required": False}})
    with pytest.raises(Faulty) as refused:
        made.values({"b": "x", "d": "?"}, WHERE)
    assert {(f.code, f.path[-1]) for f in refused.value.faults} == {
        ("variable_missing", "a"),
        ("variable_wrong_type", "b"),
        ("unknown_variable", "d"),
    }


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("da-DK", "da"),
        ("da", "da"),
        ("pt-BR", "pt-BR"),
        ("pt_br", "pt-BR"),
        ("pt", "en"),
        ("zh-Hant-TW", "zh-Hant"),
        ("fr", "en"),
        (None, "en"),
        ("", "en"),
        ("DA", "da"),
    ],
)
def test_the_nearest_language_is_taken(wanted: str | None, found: str):
    languages = {name: {"text": name} for name in ("en", "da", "pt-BR", "zh-Hant")}
    assert render(template(languages=languages), language=wanted).text == found


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"table": "7"}, "Ready at 7."),
        ({}, "Ready soon."),
        ({"table": ""}, "Ready soon."),
        ({"table": None}, "Ready soon."),
    ],
)
def test_a_part_stands_only_with_its_value(values: Any, said: str):
    source = "Ready{{#if table}} at {{table}}{{else}} soon{{/if}}."
    assert text_of(source, {"table": {"required": False}}, values) == said


def test_a_default_stands_in_for_a_value():
    variables = {"name": {"default": "friend"}, "sum": {"type": "money", "default": "0 EUR"}}
    assert text_of("{{name}} {{sum}}", variables, {}) == "friend €0.00"


def test_a_value_is_never_read_as_a_template():
    said = text_of("{{a}}", {"a": {}, "b": {"default": "secret"}}, {"a": "{{b}}{{#if a}}"})
    assert said == "{{b}}{{#if a}}"


BROKEN = [
    ("{{name", "{{ without its counterpart", 1, 1),
    ("Hi }}", "}} without its counterpart", 1, 4),
    ("{{}}", "between {{ and }}", 1, 1),
    ("{{name.__class__}}", "between {{ and }}", 1, 1),
    ("{{name()}}", "between {{ and }}", 1, 1),
    ("{{name|long|short}}", "between {{ and }}", 1, 1),
    ("{{#each name}}{{/each}}", "between {{ and }}", 1, 1),
    ("a\nb {{#if name}}", "{{#if}} without its {{/if}}", 2, 3),
    ("{{else}}", "{{else}} without its {{#if}}", 1, 1),
    ("{{#if name}}{{else}}{{else}}{{/if}}", "without its", 1, 1),
    ("{{#if name}}" * 6 + "{{/if}}" * 6, "more than 5", 1, 61),
    ("{{name}}" * 201, "more than 200 places", 1, 1),
]


@pytest.mark.parametrize(("source", "reason", "line", "column"), BROKEN)
def test_a_template_that_cannot_be_read(source: str, reason: str, line: int, column: int):
    with pytest.raises(Faulty) as refused:
        template(source, {"name": {"required": False}})
    [fault] = refused.value.faults
    assert (fault.code, fault.path) == ("template_syntax", ("languages", "en", "text"))
    assert fault.detail.startswith(f"Line {line}, column {column}: ")
    assert reason in fault.detail


@pytest.mark.parametrize(("texts", "refused"), [(50, False), (51, True)])
def test_places_have_a_bound_in_all_texts_together(texts: int, refused: bool):
    data = {f"k{number}": "{{a}}" * 200 for number in range(min(texts, 50))}
    text = "{{a}}" if texts > 50 else "x"
    with pytest.raises(Faulty) if refused else contextlib.nullcontext() as found:
        template(text, {"a": {"required": False}}, data=data)
    if refused:
        assert [fault.code for fault in found.value.faults] == ["too_many_places"]


def test_all_faults_of_a_definition_are_told_together():
    with pytest.raises(Faulty) as refused:
        template(
            languages={
                "en": {"text": "{{who}} {{sum|long}}", "variants": {"fax": {"text": "x"}}},
                "qq-not": {"text": "x"},
                "da": {"text": "  "},
            },
            variables={"sum": {"type": "money", "default": "7"}, "Not-A-Name": {}},
            default_language="fr",
            time_zone="Europe/Nowhere",
        )
    assert {fault.code for fault in refused.value.faults} == {
        "undeclared_variable",
        "unknown_format",
        "unknown_channel",
        "unknown_language",
        "empty_text",
        "invalid_default",
        "invalid_variable_name",
        "no_default_language",
        "unknown_time_zone",
    }


EVERY_PLACE = template(
    "".join(
        f"{{{{{type_.value}}}}}" + "".join(f"{{{{{type_.value}|{f}}}}}" for f in formats)
        for type_, formats in FORMATS.items()
    ),
    {type_.value: {"type": type_.value, "required": False} for type_ in FORMATS},
    subject="{{text}}",
    html='<p title="{{text}}">{{money}}<a href="https://x.example/{{text}}{{date}}">{{url}}</a></p>',
    time_zone="America/New_York",
)
"""Every type in each of its formats."""


_OFFSETS = st.builds(lambda minutes: timezone(timedelta(minutes=minutes)), st.integers(-1439, 1439))
_EDGES = st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "0001-01-01"])
_DATES = (
    _EDGES
    | st.dates().map(str)
    | st.datetimes(timezones=st.none() | _OFFSETS).map(datetime.isoformat)
)
_SHORT = st.text(max_size=20)
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _SHORT | _DATES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_SHORT, inner, max_size=2),
    max_leaves=3,
)
_LIKELY = {
    "text": st.text(alphabet=st.characters(), max_size=30),
    "number": st.integers() | st.floats() | st.decimals().map(str),
    "date": _DATES,
    "money": st.builds(
        lambda amount, currency: {"amount": amount, "currency": currency},
        st.decimals(min_value=-(10**15), max_value=10**15, places=4).map(str) | st.integers(),
        st.sampled_from(["EUR", "JPY", "XXX", "BHD", "eur", ""]),
    ),
    "url": _SHORT.map("https://x.example/".__add__) | st.text("htps:/[]@.x%?#", max_size=30),
    "code": st.from_regex(r"[A-Za-z0-9 -]{1,70}", fullmatch=True),
}


@pytest.mark.parametrize("name", _LIKELY)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_value_is_written_or_refused(name: str, data: st.DataObject):
    value = data.draw(_LIKELY[name] | _ANYTHING)
    try:
        render(EVERY_PLACE, {name: value})
    except Faulty as refused:
        unknown = {fault.code for fault in refused.faults} - CODES.keys()
    else:
        unknown = set()
    assert not unknown


@pytest.mark.parametrize("time_zone", ["Pacific/Kiritimati", "Pacific/Niue", "UTC"])
@pytest.mark.parametrize("value", ["1900-01-01T00:00:00+23:59", "9000-12-31T23:59:59-23:59"])
def test_the_first_and_the_last_moment_are_written_in_every_time_zone(value: str, time_zone: str):
    source = "{{it}}{{it|day}}{{it|time}}{{it|full}}{{it|iso}}"
    assert text_of(source, {"it": {"type": "date"}}, {"it": value}, time_zone=time_zone)


# HTML

UNSAFE = [
    ("<a href={{name}}>x</a>", "in a tag"),
    ("<{{name}}>", "behind a <"),
    ("<a {{name}}>", "in a tag"),
    ("<a onclick='go({{name}})'>", "in the attribute onclick"),
    ('<p style="{{name}}">', "in the attribute style"),
    ('<iframe srcdoc="{{name}}">', "in the attribute srcdoc"),
    ("<script>let a = '{{name}}'</script>", "inside of <script>"),
    ("<STYLE>{{name}}</STYLE>", "inside of <style>"),
    ("<title>{{name}}</title>", "inside of <title>"),
    ("<!-- {{name}} -->", "in a comment"),
    ('<a title="x" {{name}}="x">', "in a tag"),
    ("<p>{{#if name}}<b title='{{/if}}{{name}}", "open and close the same"),
]


@pytest.mark.parametrize(("html", "reason"), UNSAFE)
def test_where_no_value_may_stand_in_html(html: str, reason: str):
    with pytest.raises(Faulty) as refused:
        template("x", {"name": {"required": False}}, html=html)
    found = [fault.detail for fault in refused.value.faults]
    assert any(reason in detail for detail in found), found


def test_an_address_begins_with_a_url_only():
    with pytest.raises(Faulty) as refused:
        template("x", {"name": {}}, html='<a href="{{name}}">x</a>')
    assert [fault.code for fault in refused.value.faults] == ["unsafe_place"]


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>{{name}}</p>", "<p>&lt;b&gt; &amp; &quot;&#x27;</p>"),
        ("a < b {{name}}", "a < b &lt;b&gt; &amp; &quot;&#x27;"),
        ('<p title="{{name}}">', '<p title="&lt;b&gt; &amp; &quot;&#x27;">'),
        (
            '<a href="https://x.example/?q={{name}}">',
            '<a href="https://x.example/?q=%3Cb%3E%20%26%20%22%27">',
        ),
        ('<a href="{{link}}">', '<a href="https://y.example/?a=1&amp;b=2">'),
        ("<script>x()</script>{{name}}", "<script>x()</script>&lt;b&gt; &amp; &quot;&#x27;"),
        ("<!-- > -->{{name}}", "<!-- > -->&lt;b&gt; &amp; &quot;&#x27;"),
        ('<p title="a>b">{{name}}', '<p title="a>b">&lt;b&gt; &amp; &quot;&#x27;'),
        (
            "{{#if link}}<a href='{{link}}'>{{/if}}",
            "<a href='https://y.example/?a=1&amp;b=2'>",
        ),
    ],
)
def test_values_are_escaped_where_they_stand(html: str, expected: str):
    variables = {"name": {}, "link": {"type": "url", "required": False}}
    values = {"name": "<b> & \"'", "link": "https://y.example/?a=1&b=2"}
    assert render(template("x", variables, html=html), values).html == expected


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Any] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, [name for name, _ in attrs]))


SHAPE = template(
    "x",
    {"name": {"required": False}},
    html='<p title="{{name}}">{{name}}<a href="https://x.example/{{name}}">{{name}}</a></p>',
)


@given(st.text(max_size=200))
def test_no_value_adds_a_tag_or_an_attribute(value: str):
    try:
        values = SHAPE.values({"name": value}, WHERE)
    except Faulty:
        return
    tags = Tags()
    html = SHAPE.render("en", values, ("email",)).html
    assert html is not None
    tags.feed(html)
    assert tags.found == [("p", ["title"]), ("a", ["href"])]


# Channels


def test_each_channel_has_its_own_words():
    made = template(
        "Hi {{name}}, a long text",
        {"name": {}},
        subject="For {{name}}",
        html="<b>{{name}}</b>",
        data={"order": "of {{name}}"},
        variants={"sms": {"text": "Hi {{name}}"}, "push": {"subject": "{{name}}!"}},
        whatsapp={"name": "greeting", "language": "en_US", "parameters": ["{{name}}"]},
    )
    content = render(made, {"name": "Anna\nB"})
    assert content.on("sms").text == content.text == "Hi Anna\nB"
    assert content.on("email") == Content(
        "Hi Anna\nB, a long text",
        subject="For Anna B",
        html="<b>Anna\nB</b>",
        data={"order": "of Anna\nB"},
        template=Template("greeting", "en_US", ("Anna B",)),
    )
    assert (content.on("push").text, content.on("push").subject) == (
        "Hi Anna\nB, a long text",
        "Anna B!",
    )


def test_what_no_channel_of_the_plan_carries_is_not_rendered():
    made = template("text", html="<b>x</b>", subject="s", variants={"sms": {"text": "short"}})
    assert render(made, channels=("sms",)) == Content("short")
    assert render(made, channels=("sms", "whatsapp")) == Content(
        "short", variants={"whatsapp": Variant("text")}
    )


LONG = "{{a}}" * 200
TOO_LONG = {
    # a place of many texts, and a channel that carries it
    "text": ({"text": LONG}, "email"),
    "subject": ({"subject": LONG}, "email"),
    "html": ({"html": LONG}, "email"),
    "data": ({"data": {f"key{number}": LONG for number in range(49)}}, "push"),
    "parameters": (
        {"whatsapp": {"name": "x", "language": "en", "parameters": [LONG] * 49}},
        "whatsapp",
    ),
    "variant": ({"variants": {"push": {"text": LONG}}}, "push"),
}


@pytest.mark.parametrize(("wording", "channel"), TOO_LONG.values(), ids=TOO_LONG)
def test_what_nobody_could_carry_is_refused_before_it_is_put_together(wording: Any, channel: str):
    """On the event loop: 20 MB of parameters took 166 ms."""
    wording = {"text": "x", **wording}
    made = template(variables={"a": {"max_length": 2000}}, languages={"en": wording})
    values = made.values({"a": "x" * 2000}, WHERE)
    began = time.thread_time()
    with pytest.raises(Faulty) as refused:
        made.render("en", values, (channel,))
    assert time.thread_time() - began < 0.05
    assert [fault.code for fault in refused.value.faults] == ["rendered_too_long"]


HOSTILE = [
    "{{" * 50_000,
    "{{a" * 33_000,
    "{{" + "x" * 99_000,
    "}}" * 50_000,
    "{{#if name}}" * 8_000,
    "<a " + '"' * 99_000,
    "<a " + "='" * 49_000,
    "<" * 100_000,
    "<a" * 50_000,
    "<!--" * 25_000,
    "<script>" + "</" * 49_000,
    "<a " + "x" * 99_000,
    "<a " + " =" * 49_000,
]


@pytest.mark.parametrize("source", HOSTILE, ids=lambda source: source[:12])
def test_a_hostile_source_takes_no_longer_than_another(source: str):
    began = time.monotonic()
    with contextlib.suppress(Faulty):
        template("x", {"name": {"required": False}}, html=source[:100_000])
    assert time.monotonic() - began < 3


@given(st.text(alphabet="{}#/if else|name \n<>\"'", max_size=60))
def test_any_source_is_read_or_refused(source: str):
    try:
        made = template(source or "x", {"name": {"required": False}}, html=source)
    except Faulty:
        return
    render(made, {"name": "value"})
