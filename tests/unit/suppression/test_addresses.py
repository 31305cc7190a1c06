"""One form for every way to write an address, and no more of it shown than its owner needs."""

from __future__ import annotations

import phonenumbers
import pytest

from domain.channels import CHANNELS
from domain.channels.rules import AddressProblem
from domain.suppression import canonical, masked, of_order

SAME = [
    ("email", "Anna.Larsen@Example.COM", "anna.larsen@example.com"),
    ("email", "anna+news@bücher.example", "anna+news@xn--bcher-kva.example"),
    ("sms", "+4520123456", "+4520123456"),
    # A national prefix that does not belong there, in countries that have one.
    ("sms", "+4407911123456", "+447911123456"),
    ("sms", "+49015112345678", "+4915112345678"),
    ("sms", "+330612345678", "+33612345678"),
    # Where a leading zero does belong there.
    ("sms", "+390612345678", "+390612345678"),
    ("whatsapp", "+4520123456", "+4520123456"),
    # Of no range that was ever handed out: it does no harm.
    ("sms", "+4500000000", "+4500000000"),
]


@pytest.mark.parametrize(("channel", "written", "plain"), SAME)
def test_one_form(channel, written, plain):
    assert canonical(channel, written) == plain
    assert canonical(channel, plain) == plain


def mobile_number(region):
    return phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)


@pytest.mark.parametrize("region", sorted(filter(mobile_number, phonenumbers.SUPPORTED_REGIONS)))
def test_the_short_way_reads_numbers_as_the_long_one_does(region):
    number = mobile_number(region)
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    assert canonical("sms", written) == written
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
    prefix = (metadata.national_prefix or "").replace("~", "")
    if prefix:
        code = str(number.country_code)
        longer = f"+{code}{prefix}{written[1 + len(code) :]}"
        try:
            expected = CHANNELS["sms"].parse_address(longer)
        except AddressProblem:
            return
        assert canonical("sms", longer) == expected


@pytest.mark.parametrize(
    ("channel", "address"),
    [
        ("sms", "20123456"),
        ("sms", "+45"),
        ("sms", "+0123456789"),
        ("sms", "+2101234567"),
        ("sms", "+45 20 12 34 56"),
        ("sms", ""),
        ("email", "anna"),
        ("email", "anna@"),
        ("email", "a" * 65 + "@example.com"),
        ("email", "anna@-example.com"),
        ("push", "short"),
    ],
)
def test_what_is_no_address(channel, address):
    with pytest.raises(AddressProblem):
        canonical(channel, address)


@pytest.mark.parametrize(
    ("channel", "address", "shown"),
    [
        ("sms", "+4520123456", "+45*****56"),
        ("email", "anna@example.com", "a***@e***.com"),
        ("push", "abcdefghijkl", "abcd***"),
    ],
)
def test_what_is_shown(channel, address, shown):
    assert masked(channel, address) == shown


@pytest.mark.parametrize(("channel", "written"), [(c, w) for c, w, _ in SAME])
def test_an_order_finds_what_was_put_on_the_list(channel, written):
    try:
        ordered = CHANNELS[channel].parse_address(written)
    except AddressProblem:
        return
    assert of_order(channel, ordered) == canonical(channel, written)
