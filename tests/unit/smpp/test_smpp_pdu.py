import struct

import pytest

from adapters.smpp.protocol import pdu as pdus
from adapters.smpp.protocol.constants import (
    MAX_COMMAND_LENGTH,
    CommandId,
    CommandStatus,
)
from adapters.smpp.protocol.pdu import PDU_TYPES, PduError, decode, encode

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


MULTI = pdus.SubmitMulti(destinations=(pdus.SmeAddress(1, 1, "45"), pdus.DistributionList("all")))


@pytest.mark.parametrize(
    ("pdu", "status"),
    [
        (pdus.SubmitMulti(), CommandStatus.ESME_RINVNUMDESTS),
        (
            pdus.SubmitMulti(destinations=(pdus.SmeAddress(),) * 255),
            CommandStatus.ESME_RINVNUMDESTS,
        ),
        (
            pdus.SubmitMulti(destinations=(pdus.SmeAddress(1, 1, "1" * 21),)),
            CommandStatus.ESME_RINVDSTADR,
        ),
        (
            pdus.SubmitMulti(destinations=(pdus.DistributionList("l" * 21),)),
            CommandStatus.ESME_RINVDLNAME,
        ),
        (
            pdus.SubmitMulti(destinations=MULTI.destinations, short_message=b"x" * 255),
            CommandStatus.ESME_RINVMSGLEN,
        ),
        (
            pdus.SubmitMultiResp("m", (pdus.UnsuccessfulSme(error_status_code=1 << 32),)),
            CommandStatus.ESME_RSYSERR,
        ),
        (pdus.ReplaceSm(short_message=b"x" * 255), CommandStatus.ESME_RINVMSGLEN),
        (pdus.QuerySm("m" * 65), CommandStatus.ESME_RINVMSGID),
        (pdus.CancelSm(destination_addr="1" * 21), CommandStatus.ESME_RINVDSTADR),
        (pdus.QuerySmResp(message_state=256), CommandStatus.ESME_RSYSERR),
        (pdus.Outbind("s" * 16, ""), CommandStatus.ESME_RINVSYSID),
        (pdus.AlertNotification(tlvs={0x0422: b""}), CommandStatus.ESME_RINVPARLEN),
    ],
)
def test_what_does_not_fit_is_written_in_no_pdu(pdu, status):
    with pytest.raises(PduError) as caught:
        pdu.encode_body()
    assert caught.value.command_status == status


MULTI_HEAD = b"\0\1\1HERMES\0"
AFTER_DESTINATIONS = b"\0\0\0\0\0\0\0\0\0"


@pytest.mark.parametrize(
    ("command_id", "body", "status"),
    [
        (CommandId.SUBMIT_MULTI, MULTI_HEAD, CommandStatus.ESME_RINVCMDLEN),
        (CommandId.SUBMIT_MULTI, MULTI_HEAD + b"\0", CommandStatus.ESME_RINVNUMDESTS),
        (CommandId.SUBMIT_MULTI, MULTI_HEAD + b"\xff", CommandStatus.ESME_RINVNUMDESTS),
        (CommandId.SUBMIT_MULTI, MULTI_HEAD + b"\1\3", CommandStatus.ESME_RINVDESTFLAG),
        (CommandId.SUBMIT_MULTI, MULTI_HEAD + b"\1\1\1\145", CommandStatus.ESME_RINVDSTADR),
        (CommandId.SUBMIT_MULTI, MULTI_HEAD + b"\1\2all", CommandStatus.ESME_RINVDLNAME),
        # One destination is announced and none follows: what follows is read as one.
        (
            CommandId.SUBMIT_MULTI,
            MULTI_HEAD + b"\1" + AFTER_DESTINATIONS,
            CommandStatus.ESME_RINVDESTFLAG,
        ),
        (
            CommandId.SUBMIT_MULTI,
            MULTI_HEAD + b"\1\2all\0" + AFTER_DESTINATIONS + b"\3hi",
            CommandStatus.ESME_RINVMSGLEN,
        ),
        (
            CommandId.SUBMIT_MULTI,
            MULTI_HEAD + b"\1\2all\0" + AFTER_DESTINATIONS + b"\xff" + b"x" * 255,
            CommandStatus.ESME_RINVMSGLEN,
        ),
        (CommandId.SUBMIT_MULTI_RESP, b"m\0", CommandStatus.ESME_RINVCMDLEN),
        (CommandId.SUBMIT_MULTI_RESP, b"m\0\1\1\1" + b"45\0\0\0", CommandStatus.ESME_RINVCMDLEN),
        (CommandId.QUERY_SM, b"m", CommandStatus.ESME_RINVMSGID),
        (CommandId.QUERY_SM, b"m\0\1\1" + b"1" * 21 + b"\0", CommandStatus.ESME_RINVSRCADR),
        (CommandId.QUERY_SM, b"m\0\1\1\0x", CommandStatus.ESME_RINVOPTPARSTREAM),
        (CommandId.QUERY_SM_RESP, b"m\0\0\1", CommandStatus.ESME_RINVCMDLEN),
        (CommandId.CANCEL_SM, b"\0m\0\1\1\0\1", CommandStatus.ESME_RINVCMDLEN),
        (CommandId.REPLACE_SM, b"m\0\1\1\0\0\0\0\0\5hi", CommandStatus.ESME_RINVMSGLEN),
        (CommandId.CANCEL_SM_RESP, b"\0", CommandStatus.ESME_RINVCMDLEN),
        (CommandId.OUTBIND, b"smsc\0secret", CommandStatus.ESME_RINVPASWD),
        (CommandId.ALERT_NOTIFICATION, b"\1\1\0\1\1", CommandStatus.ESME_RINVDSTADR),
    ],
)
def test_a_malformed_pdu_of_the_other_families_says_what_to_answer(command_id, body, status):
    with pytest.raises(PduError) as caught:
        decode(frame_of(body, command_id))
    assert caught.value.command_status == status


def test_a_submit_multi_is_laid_out_as_section_4_5_1_says():
    body = b"\0\0\0\0" + b"\2" + b"\1\1\1" + b"45\0" + b"\2all\0" + AFTER_DESTINATIONS + b"\0"
    assert MULTI.encode_body() == body
    response = pdus.SubmitMultiResp("m", (pdus.UnsuccessfulSme(1, 2, "45", 0x0B),))
    assert response.encode_body() == b"m\0\1\1\2" + b"45\0" + b"\0\0\0\x0b"


def test_a_long_text_is_found_in_its_tlv():
    assert pdus.DeliverSm(tlvs={0x0424: b"long"}).message == b"long"
    assert pdus.DeliverSm(short_message=b"short", tlvs={0x0424: b"long"}).message == b"short"


def test_a_bind_does_not_show_its_password():
    for pdu in (pdus.BindTransceiver("hermes", "secret"), pdus.Outbind("hermes", "secret")):
        assert "secret" not in repr(pdu)
