"""What a submit_sm says, read by our own codec and by smpplib, which knows nothing of it."""

import struct
from datetime import UTC, datetime, timedelta

import pytest
import smpplib.client
import smpplib.consts
import smpplib.smpp

from adapters.smpp.carriers.config import CarrierConfig
from adapters.smpp.carriers.outgoing import REFERENCES, bodies, cut
from adapters.smpp.protocol.constants import Tag
from adapters.smpp.protocol.pdu import PduError, SubmitSm
from domain.delivery import DeliveryRequest
from domain.message import Content
from domain.sms import gsm0338
from infra.simulators.smsc import read_payload

GSM_LONG = "Smørrebrød [æøå] €" * 20
UCS_LONG = "Zażółć 🎉" * 20


class Counter:
    """What smpplib wants for sequence numbers."""

    sequence = 0

    def next_sequence(self):
        self.sequence += 1
        return self.sequence


def config(**more):
    return CarrierConfig(
        **{"name": "c", "hosts": ("h:1",), "system_id": "me", "password": "secret", **more}
    )


def submits(text="Hello", *, reference=7, to="+4520100000", sender=None, **account):
    """The parts as our codec reads them, and as smpplib does."""
    settings = config(**account)
    request = DeliveryRequest(
        message="msg_1",
        attempt=1,
        tenant="acme",
        to=to,
        content=Content(text),
        receipt_ref="ref",
        not_after=datetime.now(UTC) + timedelta(minutes=1),
        sender=sender,
    )
    found = bodies(request, settings, cut(text, settings, reference), reference)
    ours = [SubmitSm.decode_body(body, 0, len(body)) for body in found]
    theirs = [
        smpplib.smpp.parse_pdu(
            struct.pack(">IIII", 16 + len(body), 4, 0, 1) + body,
            client=Counter(),
            allow_unknown_opt_params=True,
        )
        for body in found
    ]
    return ours, theirs


FIELDS = (
    *("service_type", "source_addr_ton", "source_addr_npi", "source_addr", "dest_addr_ton"),
    *("dest_addr_npi", "destination_addr", "esm_class", "validity_period", "registered_delivery"),
    *("data_coding", "short_message"),
)


def assert_agree(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        for name in FIELDS:
            expected, found = getattr(mine, name), getattr(other, name)
            if isinstance(expected, str):
                expected = expected.encode("latin-1")
            if found is None:
                found = type(expected)()
            assert found == expected, name


def whole(ours, alphabet=gsm0338.decode):
    """The text of all parts."""
    decode = {0: alphabet, 8: lambda octets: octets.decode("utf-16-be")}
    return "".join(decode[pdu.data_coding](read_payload(pdu)[0]) for pdu in ours)


CONCATENATIONS = {
    "udh8": lambda reference: reference & 0xFF,
    "udh16": lambda reference: reference,
    "sar": lambda reference: reference,
}


@pytest.mark.parametrize("reference", [0, 7, 255, 256, 0xABCD, REFERENCES - 1])
@pytest.mark.parametrize("text", [GSM_LONG, UCS_LONG], ids=["gsm7", "ucs2"])
@pytest.mark.parametrize("concatenation", CONCATENATIONS)
def test_concatenation(concatenation, text, reference):
    ours, theirs = submits(text, reference=reference, concatenation=concatenation)
    assert_agree(ours, theirs)
    assert whole(ours) == text
    places = [read_payload(pdu)[1] for pdu in ours]
    assert [place.number for place in places] == list(range(1, len(ours) + 1))
    assert {place.total for place in places} == {len(ours)}
    assert {place.reference for place in places} == {CONCATENATIONS[concatenation](reference)}
    for pdu, other in zip(ours, theirs, strict=True):
        # Never both ways at once.
        assert bool(pdu.esm_class & 0x40) is (concatenation != "sar")
        assert (int(Tag.SAR_TOTAL_SEGMENTS) in pdu.tlvs) is (concatenation == "sar")
        # A short message holds 140 octets, septets packed.
        size = len(pdu.short_message)
        header = {"udh8": 6, "udh16": 7, "sar": 0}[concatenation]
        if pdu.data_coding == 8:
            assert size <= 140
        else:
            assert (size - header) * 7 <= (140 - max(header, 6)) * 8
        if concatenation == "sar":
            assert (other.sar_msg_ref_num, other.sar_total_segments) == (reference, len(ours))


@pytest.mark.parametrize("concatenation", CONCATENATIONS)
def test_one_part_has_no_header(concatenation):
    ours, theirs = submits("Hello", concatenation=concatenation)
    assert_agree(ours, theirs)
    [pdu] = ours
    assert (pdu.short_message, pdu.esm_class) == (b"Hello", 0)
    assert set(pdu.tlvs) == {int(Tag.USER_MESSAGE_REFERENCE)}


def test_each_part_has_a_user_message_reference_of_its_own():
    ours, theirs = submits(GSM_LONG, reference=REFERENCES - 2)
    found = [int.from_bytes(pdu.tlvs[Tag.USER_MESSAGE_REFERENCE], "big") for pdu in ours]
    assert found[:3] == [REFERENCES - 2, REFERENCES - 1, 0]
    assert [pdu.user_message_reference for pdu in theirs] == found


ALPHABETS = [
    # alphabet, text, data_coding, the octets
    ("gsm7", "æøå @$", 0, b"\x1d\x0c\x0f \x00\x02"),
    ("gsm7", "[€]", 0, b"\x1b\x3c\x1b\x65\x1b\x3e"),
    ("gsm7", "ł", 8, b"\x01\x42"),
    ("latin1", "æøå @$", 0, "æøå @$".encode("latin-1")),
    ("latin1", "[]", 0, b"[]"),
    ("latin1", "€", 8, b"\x20\xac"),
    ("latin1", "Ωµ", 8, "Ωµ".encode("utf-16-be")),
]


@pytest.mark.parametrize(("alphabet", "text", "data_coding", "octets"), ALPHABETS)
def test_alphabets(alphabet, text, data_coding, octets):
    ours, theirs = submits(text, default_alphabet=alphabet)
    assert_agree(ours, theirs)
    assert [(pdu.data_coding, pdu.short_message) for pdu in ours] == [(data_coding, octets)]


@pytest.mark.parametrize("concatenation", CONCATENATIONS)
def test_a_long_text_in_latin1(concatenation):
    text = "Smørrebrød [æøå] " * 30
    ours, theirs = submits(text, default_alphabet="latin1", concatenation=concatenation)
    assert_agree(ours, theirs)
    assert len(ours) > 1
    assert whole(ours, lambda octets: octets.decode("latin-1")) == text


@pytest.mark.parametrize(
    ("seconds", "period"),
    [
        (None, ""),
        (60, "000000000100000R"),
        (3599.9, "000000005959000R"),
        (3600, "000000010000000R"),
        (90061, "000001010101000R"),
        (7 * 86400, "000007000000000R"),
    ],
)
def test_validity_period(seconds, period):
    """YYMMDDhhmmsstnnp, relative (section 7.1.1.1)."""
    ours, theirs = submits(validity=seconds)
    assert_agree(ours, theirs)
    assert ours[0].validity_period == period


@pytest.mark.parametrize(
    ("receipts", "registered_delivery"), [("all", 0x01), ("intermediate", 0x11), ("none", 0x00)]
)
def test_registered_delivery(receipts, registered_delivery):
    ours, theirs = submits(GSM_LONG, receipts=receipts)
    assert_agree(ours, theirs)
    assert {pdu.registered_delivery for pdu in ours} == {registered_delivery}


@pytest.mark.parametrize(
    ("sender", "source"),
    [
        (None, (5, 0, "Hermes")),
        ("Bakery", (5, 0, "Bakery")),
        ("+4570101010", (1, 1, "4570101010")),
        ("1234", (1, 1, "1234")),
        ("24/7", (5, 0, "24/7")),
    ],
)
def test_source(sender, source):
    ours, theirs = submits(sender=sender)
    assert_agree(ours, theirs)
    [pdu] = ours
    assert (pdu.source_addr_ton, pdu.source_addr_npi, pdu.source_addr) == source


def test_types_of_number_are_the_carriers():
    account = {
        "source_numeric": {"ton": 3, "npi": 8},
        "source_alphanumeric": {"ton": 6, "npi": 9},
        "destination": {"ton": 2, "npi": 4},
        "service_type": "WAP",
        "default_sender": "1234",
    }
    [numeric], theirs = submits(**account)
    assert_agree([numeric], theirs)
    assert (numeric.source_addr_ton, numeric.source_addr_npi) == (3, 8)
    assert (numeric.dest_addr_ton, numeric.dest_addr_npi) == (2, 4)
    assert (numeric.destination_addr, numeric.service_type) == ("4520100000", "WAP")
    [named], _ = submits(sender="Bakery", **account)
    assert (named.source_addr_ton, named.source_addr_npi) == (6, 9)


@pytest.mark.parametrize(
    "wrong", [{"sender": "x" * 21}, {"sender": "日本"}, {"to": "+" + "1" * 21}, {"sender": "a\0b"}]
)
def test_what_does_not_fit(wrong):
    with pytest.raises(PduError):
        submits(**wrong)


@pytest.mark.parametrize("text", ["\ud800", "x" * 153 * 256])
def test_what_no_short_messages_can_carry(text):
    with pytest.raises(ValueError, match=r"surrogates|parts"):
        submits(text)
