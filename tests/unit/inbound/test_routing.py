"""Whose message it is, by its number and its first words."""

import pytest

from domain.inbound import InboundRoute, Routes

NUMBER = "+4512345678"


def routes(*keywords, number=NUMBER):
    """One route a keyword, the tenant named after it."""
    return Routes(
        InboundRoute(number, keyword, f"tenant of {keyword}", "https://example.com")
        for keyword in keywords
    )


def tenant(table, text, destination=NUMBER):
    found = table.find(destination, text)
    return found and found.tenant.removeprefix("tenant of ")


SHARED = routes(None, "STOP", "STOP ALL", "Café", "lån", "ΜΟΤΟ", "+1", "💙")  # noqa: RUF001


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        ("STOP", "STOP"),
        ("stop", "STOP"),
        ("  Stop\n", "STOP"),
        ("Stop.", "STOP"),
        ("«stop»!", "STOP"),
        ("ＳＴＯＰ", "STOP"),  # noqa: RUF001
        ("stop sending me this", "STOP"),
        ("stop all", "STOP ALL"),
        ("Stop, all of it", "STOP ALL"),
        ("stop  ALL", "STOP ALL"),
        ("stopped", "None"),
        ("sto p", "None"),
        ("please stop", "None"),
        ("STÓP", "None"),
        ("CAFÉ", "Café"),
        ("cafe\u0301", "Café"),
        ("cafe", "None"),
        ("LÅN 5000", "lån"),
        ("lan 5000", "None"),
        # As a phone sends it in GSM-7: Greek only where no Latin letter looks the same.
        ("MOTO", "ΜΟΤΟ"),  # noqa: RUF001
        ("μοτο", "ΜΟΤΟ"),  # noqa: RUF001
        ("+1", "+1"),
        ("1!", "+1"),
        ("💙", "💙"),
        ("", "None"),
        ("!!!", "None"),
        ("…", "None"),
    ],
)
def test_the_first_words_choose(text, keyword):
    assert tenant(SHARED, text) == keyword


@pytest.mark.parametrize(
    ("number", "destination", "found"),
    [
        ("+4512345678", "+4512345678", True),
        ("+4512345678", "4512345678", True),
        ("1230", "1230", True),
        ("1230", "+1230", True),
        ("1230", "12300", False),
        ("+4512345678", "12345678", False),
    ],
)
def test_the_number_goes_first(number, destination, found):
    assert (tenant(routes("STOP", number=number), "STOP", destination) == "STOP") is found


def test_without_a_catch_all_other_words_have_no_route():
    assert tenant(routes("STOP"), "Hello") is None
    assert tenant(routes("STOP"), "") is None
    assert tenant(Routes(), "STOP") is None


@pytest.mark.parametrize(
    "keywords", [("stop", "STOP!"), (None, None), ("",), ("  ",), ("A b", "a  B")]
)
def test_what_could_never_be_told_apart_is_refused(keywords):
    with pytest.raises(ValueError, match=r"\+4512345678"):
        routes(*keywords)
