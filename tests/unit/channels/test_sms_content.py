"""What an SMS can carry."""

import pytest

from domain.channels import CHANNELS, ContentProblem
from domain.message import Content

SMS = CHANNELS["sms"]

FITTING = {
    "one_segment": "a" * 160,
    "ten_segments": "a" * (153 * 10),
    "ten_ucs2_segments": "я" * (67 * 10),
    "only_an_emoji": "🎉",
}
REFUSED = {
    "empty": ("", "empty_text"),
    "blank": (" \n\t", "empty_text"),
    "one_septet_too_many": ("a" * (153 * 10 + 1), "too_many_segments"),
    "one_euro_sign_too_many": ("a" * (153 * 10 - 1) + "€", "too_many_segments"),
    "one_ucs2_character_too_many": ("я" * (67 * 10 + 1), "too_many_segments"),
}


@pytest.mark.parametrize("text", FITTING.values(), ids=FITTING)
def test_a_text_that_fits_is_left_alone(text):
    assert SMS.prepare(Content(text)) == Content(text)


@pytest.mark.parametrize(("text", "code"), REFUSED.values(), ids=REFUSED)
def test_a_text_that_does_not_fit_is_refused(text, code):
    with pytest.raises(ContentProblem) as refusal:
        SMS.prepare(Content(text))
    assert (refusal.value.code, refusal.value.field) == (code, "text")
