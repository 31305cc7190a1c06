import contextlib
import struct

import pytest
import smpplib.consts
import smpplib.smpp
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.smpp import pdu as pdus
from adapters.smpp.constants import (
    MAX_COMMAND_LENGTH,
    RESPONSE_BIT,
    TLV_LENGTH,
    CommandId,
    CommandStatus,
)
from adapters.smpp.pdu import PDU_TYPES, PduError, decode, encode

octet = st.integers(0, 255)


def c_string(size):
    return st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=size - 1)


def tlv(tag):
    length = TLV_LENGTH.get(tag)
    value = (
        st.binary(max_size=80) if length is None else st.binary(min_size=length, max_size=length)
    )
    return st.tuples(st.just(tag), value)


tlvs = st.lists(
    st.one_of(st.sampled_from([0x001E, 0x0204, 0x0424, 0x0427]), st.integers(0, 0xFFFF)).flatmap(
        tlv
    ),
    max_size=4,
).map(dict)


def bind(kind):
    return st.builds(
        kind, c_string(16), c_string(9), c_string(13), octet, octet, octet, c_string(41)
    )


def short_message(kind):
    return st.builds(
        kind,
        c_string(6), octet, octet, c_string(21), octet, octet, c_string(21),
        octet, octet, octet, c_string(17), c_string(17), octet, octet, octet, octet,
        st.binary(max_size=254), tlvs,
    )  # fmt: skip


any_pdu = st.one_of(
    *(bind(k) for k in (pdus.BindReceiver, pdus.BindTransmitter, pdus.BindTransceiver)),
    *(
        st.builds(k, c_string(16), tlvs)
        for k in (pdus.BindReceiverResp, pdus.BindTransmitterResp, pdus.BindTransceiverResp)
    ),
    short_message(pdus.SubmitSm),
    short_message(pdus.DeliverSm),
    *(
        st.builds(k, c_string(65), tlvs)
        for k in (pdus.SubmitSmResp, pdus.DeliverSmResp, pdus.DataSmResp)
    ),
    st.builds(
        pdus.DataSm,
        c_string(6), octet, octet, c_string(65), octet, octet, c_string(65),
        octet, octet, octet, tlvs,
    ),
    *(
        st.builds(k)
        for k in (
            pdus.Unbind,
            pdus.UnbindResp,
            pdus.EnquireLink,
            pdus.EnquireLinkResp,
            pdus.GenericNack,
        )
    ),
)  # fmt: skip


@given(any_pdu, st.integers(1, 0x7FFFFFFF))
def test_round_trip(pdu, sequence):
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


@settings(max_examples=200)
@given(st.sampled_from(sorted(PDU_TYPES)), octet, st.binary(max_size=120))
def test_any_body_is_a_pdu_or_a_pdu_error(command_id, status, body):
    frame = struct.pack(">IIII", 16 + len(body), command_id, status, 1) + body
    with contextlib.suppress(PduError):
        decode(frame)


@settings(max_examples=200)
@given(any_pdu, st.data())
def test_any_flipped_octet_is_a_pdu_or_a_pdu_error(pdu, data):
    frame = bytearray(encode(pdu, sequence_number=1))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(octet)
    with contextlib.suppress(PduError):
        decode(bytes(frame))


@given(st.binary(max_size=100))
def test_any_octets_are_a_pdu_or_a_pdu_error(frame):
    with contextlib.suppress(PduError):
        decode(frame)


SUBMIT = {"source_addr": "HERMES", "destination_addr": "4520000000", "short_message": b"hi"}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"service_type": "123456"}, CommandStatus.ESME_RINVSERTYP),
        ({"source_addr": "1" * 21}, CommandStatus.ESME_RINVSRCADR),
        ({"source_addr": "a\0b"}, CommandStatus.ESME_RINVSRCADR),
        ({"destination_addr": "1" * 21}, CommandStatus.ESME_RINVDSTADR),
        ({"destination_addr": "€"}, CommandStatus.ESME_RINVDSTADR),
        ({"schedule_delivery_time": "1" * 17}, CommandStatus.ESME_RINVSCHED),
        ({"validity_period": "1" * 17}, CommandStatus.ESME_RINVEXPIRY),
        ({"short_message": b"x" * 255}, CommandStatus.ESME_RINVMSGLEN),
        ({"esm_class": 256}, CommandStatus.ESME_RSYSERR),
        ({"data_coding": -1}, CommandStatus.ESME_RSYSERR),
        ({"tlvs": {0x0204: b"\0"}}, CommandStatus.ESME_RINVPARLEN),
        ({"tlvs": {0x10000: b"\0"}}, CommandStatus.ESME_RINVOPTPARSTREAM),
        ({"tlvs": {0x0424: bytes(0x10000)}}, CommandStatus.ESME_RINVOPTPARSTREAM),
        ({"tlvs": {0x0424: bytes(0xFFFF)}}, CommandStatus.ESME_RINVCMDLEN),
    ],
)
def test_a_field_that_does_not_fit_is_not_written(changes, status):
    with pytest.raises(PduError) as caught:
        encode(pdus.SubmitSm(**{**SUBMIT, **changes}), sequence_number=1)
    assert caught.value.command_status == status


def frame_of(body, command_id=CommandId.SUBMIT_SM, status=0):
    return struct.pack(">IIII", 16 + len(body), command_id, status, 1) + body


HEAD = b"\0\1\1HERMES\0\1\1" + b"4520000000\0\0\0\0\0\0\1\0\0\0"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", CommandStatus.ESME_RINVSERTYP),
        (b"123456\0" + HEAD[1:], CommandStatus.ESME_RINVSERTYP),
        (b"\0\1\1" + b"1" * 21 + b"\0", CommandStatus.ESME_RINVSRCADR),
        (b"\0\1\1HERMES\0\1\1" + b"1" * 21 + b"\0", CommandStatus.ESME_RINVDSTADR),
        (HEAD, CommandStatus.ESME_RINVCMDLEN),
        (HEAD + b"\3hi", CommandStatus.ESME_RINVMSGLEN),
        (HEAD + b"\xff" + b"x" * 255, CommandStatus.ESME_RINVMSGLEN),
        (HEAD + b"\2hi\2\4\0", CommandStatus.ESME_RINVOPTPARSTREAM),
        (HEAD + b"\2hi\2\4\0\2\0", CommandStatus.ESME_RINVOPTPARSTREAM),
        (HEAD + b"\2hi\2\4\0\1\0", CommandStatus.ESME_RINVPARLEN),
    ],
)
def test_a_malformed_submit_sm_says_what_to_answer(body, status):
    with pytest.raises(PduError) as caught:
        decode(frame_of(body))
    assert caught.value.command_status == status


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        bytes(15),
        struct.pack(">IIII", 15, 0x15, 0, 1),
        struct.pack(">IIII", 17, 0x15, 0, 1),
        struct.pack(">IIII", 17, 0x15, 0, 1) + b"\0",
        struct.pack(">IIII", MAX_COMMAND_LENGTH + 1, 0x15, 0, 1).ljust(MAX_COMMAND_LENGTH + 1),
    ],
)
def test_a_wrong_length_is_an_invalid_command_length(frame):
    with pytest.raises(PduError) as caught:
        decode(frame)
    assert caught.value.command_status == CommandStatus.ESME_RINVCMDLEN


def test_an_unknown_command_is_named():
    with pytest.raises(PduError) as caught:
        decode(frame_of(b"", 0x7777))
    assert caught.value.command_status == CommandStatus.ESME_RINVCMDID


@pytest.mark.parametrize("body", [b"", b"\0", b"abc\0"])
def test_an_error_response_may_come_without_its_body(body):
    for command_id in (CommandId.SUBMIT_SM_RESP, CommandId.BIND_TRANSCEIVER_RESP):
        status, _, pdu = decode(frame_of(body, command_id, CommandStatus.ESME_RTHROTTLED))
        assert status == CommandStatus.ESME_RTHROTTLED
        assert pdu == PDU_TYPES[command_id](body.rstrip(b"\0").decode())


def test_a_successful_response_needs_its_body():
    with pytest.raises(PduError):
        decode(frame_of(b"", CommandId.SUBMIT_SM_RESP))


def test_an_error_response_is_written_without_its_body():
    frame = encode(pdus.SubmitSmResp("x"), sequence_number=9, command_status=0x58)
    assert frame == struct.pack(">IIII", 16, CommandId.SUBMIT_SM_RESP, 0x58, 9)


def test_a_long_text_is_found_in_its_tlv():
    assert pdus.DeliverSm(tlvs={0x0424: b"long"}).message == b"long"
    assert pdus.DeliverSm(short_message=b"short", tlvs={0x0424: b"long"}).message == b"short"


def test_a_bind_does_not_show_its_password():
    assert "secret" not in repr(pdus.BindTransceiver("hermes", "secret"))


# -- the same PDUs by another implementation ------------------------------------------------------


class Sequence:
    sequence = 41

    def next_sequence(self):
        self.sequence += 1
        return self.sequence


SMPPLIB_PDUS = [
    (
        "bind_transceiver",
        {
            "system_id": "hermes",
            "password": "secret",
            "system_type": "x",
            "interface_version": 0x34,
            "addr_ton": 1,
            "addr_npi": 1,
            "address_range": "45",
        },
        pdus.BindTransceiver("hermes", "secret", "x", 0x34, 1, 1, "45"),
    ),
    (
        "submit_sm",
        {
            "source_addr_ton": 5,
            "source_addr": "HERMES",
            "dest_addr_ton": 1,
            "dest_addr_npi": 1,
            "destination_addr": "4520000000",
            "esm_class": 0x40,
            "data_coding": 8,
            "registered_delivery": 1,
            "short_message": b"\5\0\3\1\2\1\0h",
            "user_message_reference": 515,
        },
        pdus.SubmitSm(
            source_addr_ton=5,
            source_addr="HERMES",
            dest_addr_ton=1,
            dest_addr_npi=1,
            destination_addr="4520000000",
            esm_class=0x40,
            registered_delivery=1,
            data_coding=8,
            short_message=b"\5\0\3\1\2\1\0h",
            tlvs={0x0204: b"\2\3"},
        ),
    ),
    (
        "deliver_sm",
        {
            "source_addr_ton": 1,
            "source_addr_npi": 1,
            "source_addr": "4520000000",
            "dest_addr_ton": 5,
            "destination_addr": "HERMES",
            "esm_class": 4,
            "short_message": b"id:1",
            "message_state": 2,
        },
        pdus.DeliverSm(
            source_addr_ton=1,
            source_addr_npi=1,
            source_addr="4520000000",
            dest_addr_ton=5,
            destination_addr="HERMES",
            esm_class=4,
            short_message=b"id:1",
            tlvs={0x0427: b"\2"},
        ),
    ),
    ("submit_sm_resp", {"message_id": "abc"}, pdus.SubmitSmResp("abc")),
    ("enquire_link", {}, pdus.EnquireLink()),
    ("unbind", {}, pdus.Unbind()),
]


@pytest.mark.parametrize(("name", "fields", "ours"), SMPPLIB_PDUS, ids=[p[0] for p in SMPPLIB_PDUS])
def test_smpplib_writes_the_same_octets(name, fields, ours):
    theirs = smpplib.smpp.make_pdu(name, client=Sequence(), **fields)
    theirs.sequence = 42
    assert encode(ours, sequence_number=42) == theirs.generate()


@given(short_message(pdus.SubmitSm).filter(lambda pdu: not pdu.tlvs))
def test_smpplib_reads_what_we_write(pdu):
    frame = encode(pdu, sequence_number=42)
    theirs = smpplib.smpp.parse_pdu(frame, client=Sequence(), allow_unknown_opt_params=True)
    assert theirs.destination_addr == pdu.destination_addr.encode("latin-1")
    assert theirs.source_addr == pdu.source_addr.encode("latin-1")
    assert (theirs.short_message or b"") == pdu.short_message
    assert theirs.data_coding == pdu.data_coding
    assert theirs.sequence == 42


def test_smpplib_knows_the_same_statuses_and_commands():
    theirs = vars(smpplib.consts)
    for status in CommandStatus:
        name = f"SMPP_{status.name}"
        if name in theirs:
            assert theirs[name] == status, name
    from smpplib.command import factory  # noqa: F401  (registers the command classes)
    from smpplib.command_codes import commands

    for name, code in commands.items():
        if code & ~RESPONSE_BIT != CommandId.OUTBIND and hasattr(CommandId, name.upper()):
            assert CommandId[name.upper()] == code
