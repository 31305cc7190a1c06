"""What holds for every PDU and for any octets."""

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.smpp.protocol.constants import CommandId
from adapters.smpp.protocol.pdu import PDU_TYPES, PduError, decode, decode_body, encode
from tests.unit.smpp.strategies import PDUS, any_pdu, octet


def test_every_pdu_of_the_specification_is_known_and_has_a_strategy():
    assert set(PDU_TYPES) == {int(command_id) for command_id in CommandId}
    assert set(PDUS) == set(PDU_TYPES.values())


def read(frame):
    """A PduError, or a PDU that can be written and is then read as the same."""
    with contextlib.suppress(PduError):
        status, sequence, pdu = decode(frame)
        if not status:
            assert decode(encode(pdu, sequence_number=sequence)) == (0, sequence, pdu)


@pytest.mark.parametrize("kind", PDUS, ids=lambda kind: kind.__name__)
@given(st.data(), st.integers(1, 0x7FFFFFFF))
def test_round_trip(kind, data, sequence):
    pdu = data.draw(PDUS[kind])
    assert decode(encode(pdu, sequence_number=sequence)) == (0, sequence, pdu)


@given(any_pdu, st.data())
def test_a_truncated_pdu_is_an_error_or_lost_only_optional_parameters(pdu, data):
    frame = encode(pdu, sequence_number=1)
    cut = data.draw(st.integers(0, len(frame) - 1))
    short = struct.pack(">I", cut) + frame[4:cut]
    try:
        _, _, decoded = decode(short[:cut])
    except PduError:
        return
    assert decoded.tlvs.items() <= pdu.tlvs.items()
    assert len(decoded.tlvs) < len(pdu.tlvs)


@given(any_pdu, st.binary(min_size=1, max_size=60))
def test_what_follows_in_the_buffer_is_never_read(pdu, following):
    frame = encode(pdu, sequence_number=1)
    assert type(pdu).decode_body(frame + following, 16, len(frame)) == pdu


@pytest.mark.parametrize("command_id", sorted(PDU_TYPES), ids=lambda i: PDU_TYPES[i].__name__)
@given(st.sampled_from([0, 0x58]), st.binary(max_size=120), st.binary(max_size=60))
def test_any_body_is_a_pdu_or_a_pdu_error_whatever_lies_around_it(command_id, status, body, around):
    read(struct.pack(">IIII", 16 + len(body), command_id, status, 1) + body)

    def outcome(before, after):
        start = len(before)
        try:
            return decode_body(command_id, status, before + body + after, start, start + len(body))
        except PduError as error:
            return error.command_status

    assert outcome(around, around) == outcome(b"", b"")


@settings(max_examples=200, deadline=None)
@given(any_pdu, st.data())
def test_any_flipped_octet_is_a_pdu_or_a_pdu_error(pdu, data):
    frame = bytearray(encode(pdu, sequence_number=1))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(octet)
    read(bytes(frame))


@given(st.binary(max_size=100))
def test_any_octets_are_a_pdu_or_a_pdu_error(frame):
    read(frame)
