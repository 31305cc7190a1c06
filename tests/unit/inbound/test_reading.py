"""From a deliver_sm to text: addresses, headers, alphabets."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.smpp.inbound.parts import Group, put_together, read_part
from adapters.smpp.protocol.constants import EsmClass, Tag
from adapters.smpp.protocol.pdu import DataSm, DeliverSm, PduError

UDHI = int(EsmClass.UDHI)
PAYLOAD = int(Tag.MESSAGE_PAYLOAD)
SAR = {
    int(Tag.SAR_MSG_REF_NUM): b"\1\2",
    int(Tag.SAR_TOTAL_SEGMENTS): b"\3",
    int(Tag.SAR_SEGMENT_SEQNUM): b"\2",
}


def read(message, **more):
    return read_part("carrier", DeliverSm(short_message=message, **more), 1_700_000_000.0)


def text_of(message, coding, alphabet="gsm7"):
    whole = put_together(Group({1: read(message, data_coding=coding)}), alphabet)
    assert whole.data is None
    return whole.text


@pytest.mark.parametrize(
    ("ton", "address", "expected"),
    [
        (1, "4520100000", "+4520100000"),
        (1, "+4520100000", "+4520100000"),
        (1, "004520100000", "+4520100000"),
        (0, "4520100000", "+4520100000"),
        (0, "004520100000", "+4520100000"),
        (0, "+4520100000", "+4520100000"),
        (0, "20100000", "20100000"),
        (0, "1230", "1230"),
        (2, "20100000", "20100000"),
        (3, "1230", "1230"),
        (5, "Hermes", "Hermes"),
        (5, "12345", "12345"),
        (0, "Hermes", "Hermes"),
        (0, "", ""),
        (1, "", ""),
        (1, "\xb2\xb3", "\xb2\xb3"),
    ],
)
def test_a_whole_number_is_e164_and_all_else_as_it_came(ton, address, expected):
    part = read(
        b"x",
        source_addr_ton=ton,
        source_addr=address,
        dest_addr_ton=ton,
        destination_addr=address,
    )
    assert (part.source, part.destination) == (expected, expected)


ALONE = (0, 1, 1, b"hi")
EIGHT, SIXTEEN = b"\0\3\7\2\1", b"\x08\4\0\7\2\1"
IGNORED = [
    EIGHT.replace(b"\2\1", b"\0\1"),
    EIGHT.replace(b"\2\1", b"\2\0"),
    EIGHT.replace(b"\2\1", b"\2\3"),
    EIGHT[:-1],
    EIGHT + b"\1",
    EIGHT + b"\x24\5\1",
    b"\0\2\2\1",
    b"",
]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (EIGHT, (7, 2, 1, b"hi")),
        (SIXTEEN, (0x10007, 2, 1, b"hi")),
        (b"\x24\1\1" + EIGHT, (7, 2, 1, b"hi")),
        (EIGHT + b"\x24\1\1", (7, 2, 1, b"hi")),
        (EIGHT + SIXTEEN, (0x10007, 2, 1, b"hi")),
        (b"\0\3\xff\xff\xff", (255, 255, 255, b"hi")),
        *((header, ALONE) for header in IGNORED),
    ],
)
def test_the_user_data_header(header, expected):
    part = read(bytes([len(header)]) + header + b"hi", esm_class=UDHI)
    assert (part.reference, part.total, part.number, part.payload) == expected


@pytest.mark.parametrize("message", [b"", b"\5\0\3\7\2", b"\xff" + b"x" * 253])
def test_a_header_that_runs_over_the_message_is_refused(message):
    with pytest.raises(PduError):
        read(message, esm_class=UDHI)


def test_without_the_flag_a_header_is_text():
    assert read(b"\5" + EIGHT + b"hi").payload == b"\5" + EIGHT + b"hi"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, (0x20102, 3, 2)),
        ({Tag.SAR_TOTAL_SEGMENTS: b"\0"}, (0, 1, 1)),
        ({Tag.SAR_SEGMENT_SEQNUM: b"\0"}, (0, 1, 1)),
        ({Tag.SAR_SEGMENT_SEQNUM: b"\4"}, (0, 1, 1)),
        ({Tag.SAR_MSG_REF_NUM: None}, (0, 1, 1)),
        ({Tag.SAR_TOTAL_SEGMENTS: None}, (0, 1, 1)),
    ],
)
def test_the_sar_parameters(change, expected):
    tlvs = SAR | {int(tag): value for tag, value in change.items()}
    part = read(b"hi", tlvs={tag: value for tag, value in tlvs.items() if value is not None})
    assert (part.reference, part.total, part.number) == expected


def test_the_header_goes_before_the_sar_parameters():
    part = read(b"\5" + EIGHT + b"hi", esm_class=UDHI, tlvs=SAR)
    assert part.reference == 7


@pytest.mark.parametrize("header", [b"", b"\5" + EIGHT])
@pytest.mark.parametrize("kind", [DeliverSm, DataSm])
def test_a_message_payload(kind, header):
    pdu = kind(esm_class=UDHI if header else 0, tlvs={PAYLOAD: header + b"x" * 500})
    assert read_part("carrier", pdu, 0.0).payload == b"x" * 500


@pytest.mark.parametrize(
    ("coding", "message", "expected"),
    [
        (0, b"\x00\x1b\x65 \x1c\x0c\x0f", "@€ Æøå"),
        (0, b"bl\xe5b\xe6r", "blåbær"),
        (1, b"plain", "plain"),
        (1, b"bl\xe5b\xe6r", "blåbær"),
        (3, b"bl\xe5b\xe6r", "blåbær"),
        (6, "привет".encode("iso8859-5"), "привет"),
        (7, "שלום".encode("iso8859-8"), "שלום"),
        (8, "blåbær 💙".encode("utf-16-be"), "blåbær 💙"),
        (8, b"\0a\0", "a\ufffd"),
        (8, b"\xd8\x3d\0a", "\ufffda"),
        (0x10, b"\x00", "@"),
        (0x18, b"\0a", "a"),
        (0xF0, b"\x00", "@"),
        (0, b"", ""),
        (8, b"", ""),
    ],
)
def test_the_alphabets(coding, message, expected):
    assert text_of(message, coding) == expected


def test_what_0_means_the_carrier_says():
    assert text_of(b"bl\xe5b\xe6r @", 0, "latin1") == "blåbær @"


@pytest.mark.parametrize("coding", [2, 4, 5, 9, 10, 13, 14, 0x14, 0xF5, 0xC0, 0xFF])
def test_what_is_no_text_is_kept_in_base64(coding):
    whole = put_together(Group({1: read(b"\0\xffhi", data_coding=coding)}), "gsm7")
    assert (whole.text, base64.b64decode(whole.data)) == ("", b"\0\xffhi")


@given(
    st.binary(max_size=254),
    st.sampled_from([0, UDHI, 0x08, 0xFF & ~0x3C]),
    st.integers(0, 255),
    st.text("0123456789+aØ²", max_size=20),
    st.integers(0, 6),
    st.sampled_from(["gsm7", "latin1"]),
)
def test_nothing_but_our_own_error_on_any_octets(
    message, esm_class, coding, address, ton, alphabet
):
    pdu = DeliverSm(
        short_message=message,
        esm_class=esm_class,
        data_coding=coding,
        source_addr=address,
        source_addr_ton=ton,
    )
    try:
        part = read_part("carrier", pdu, 0.0)
    except PduError:
        return
    whole = put_together(Group({part.number: part}), alphabet)
    (whole.text + whole.source).encode()
    assert 1 <= part.number <= part.total <= 255
