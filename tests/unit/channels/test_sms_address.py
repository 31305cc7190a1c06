"""What the SMS channel takes as a number, and why it refuses the rest."""

import pytest

from domain.channels import CHANNELS, AddressProblem, SenderProblem

SMS = CHANNELS["sms"]

TAKEN = {
    "danish_mobile": "+4520123456",
    "us_number_that_may_be_either": "+12124567890",
    "longest_german_mobile": "+4915123456789",
    "italian_mobile": "+393123456789",
}
REFUSED = {
    "empty": ("", "not_a_number"),
    "letters": ("+45abcdefgh", "not_a_number"),
    "no_plus": ("4520123456", "not_a_number"),
    "international_prefix": ("004520123456", "not_a_number"),
    "spaces": ("+45 20 12 34 56", "not_a_number"),
    "trailing_line_break": ("+4520123456\n", "not_a_number"),
    "arabic_digits": ("+٤٥٢٠١٢٣٤٥٦", "not_a_number"),
    "extension": ("+4520123456;ext=1", "not_a_number"),
    "only_a_plus": ("+", "not_a_number"),
    "country_code_that_does_not_exist": ("+99920123456", "unknown_country"),
    "zero_country": ("+0045123456", "unknown_country"),
    "a_digit_missing": ("+45201234", "number_too_short"),
    "country_code_only": ("+45", "not_a_number"),
    "a_digit_too_many": ("+452012345678", "number_too_long"),
    "far_too_long": ("+45" + "2" * 29, "number_too_long"),
    "absurdly_long": ("+" + "4" * 10_000, "not_a_number"),
    "unassigned_range": ("+12125550", "number_too_short"),
    "range_nobody_has": ("+4510000000", "invalid_number"),
    "berlin_fixed_line": ("+493012345678", "not_a_mobile"),
    "london_fixed_line": ("+442079460000", "not_a_mobile"),
    "freephone": ("+448001234567", "not_a_mobile"),
}


@pytest.mark.parametrize("number", TAKEN.values(), ids=TAKEN)
def test_a_mobile_number_stays_as_it_is(number):
    assert SMS.parse_address(number) == number


@pytest.mark.parametrize(("number", "code"), REFUSED.values(), ids=REFUSED)
def test_other_numbers_are_refused_by_type(number, code):
    with pytest.raises(AddressProblem) as refusal:
        SMS.parse_address(number)
    assert refusal.value.code == code
    assert refusal.value.detail


@pytest.mark.parametrize("sender", ["Hermes", "H 2", "1234", "+4520123456", "A.b-c_d&e"])
def test_a_sender_is_a_short_name_or_a_number(sender):
    assert SMS.parse_sender(sender) == sender


@pytest.mark.parametrize("sender", ["", "TwelveLetter", "12", "+" + "1" * 16, "a\r\nb", "Bjørn"])
def test_other_senders_are_refused(sender):
    with pytest.raises(SenderProblem) as refusal:
        SMS.parse_sender(sender)
    assert refusal.value.code == "invalid_sms_sender"
