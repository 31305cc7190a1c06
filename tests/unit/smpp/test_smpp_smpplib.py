"""The same PDUs by another implementation, both ways, for every PDU that smpplib has.

smpplib names its fields as the specification does, and so do we. Optional parameters are listed
with the form smpplib gives them, in the order in which it writes them.
"""

import pytest
import smpplib.consts
import smpplib.smpp
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from smpplib.command import factory
from smpplib.command_codes import commands

from adapters.smpp.protocol import pdu as pdus
from adapters.smpp.protocol.constants import CommandId, CommandStatus, Tag
from adapters.smpp.protocol.pdu import decode, encode
from tests.unit.smpp.strategies import PDUS


class Client:
    """What smpplib wants of a client: sequence numbers."""

    def next_sequence(self):
        return 42


def integer(size):
    return st.binary(min_size=size, max_size=size).map(lambda o: (int.from_bytes(o, "big"), o))


def octets(low, high):
    return st.binary(min_size=low, max_size=high).map(lambda o: (o, o))


# smpplib ends these with a NUL, which its parser takes away again.
string = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60).map(
    lambda text: (text, text.encode() + b"\0")
)

MESSAGE_TLVS = {
    Tag.USER_MESSAGE_REFERENCE: integer(2),
    Tag.SOURCE_PORT: integer(2),
    Tag.DESTINATION_PORT: integer(2),
    Tag.SAR_MSG_REF_NUM: integer(2),
    Tag.SAR_TOTAL_SEGMENTS: integer(1),
    Tag.SAR_SEGMENT_SEQNUM: integer(1),
}
NAMES = {
    "bind_receiver": (pdus.BindReceiver, {}),
    "bind_receiver_resp": (pdus.BindReceiverResp, {Tag.SC_INTERFACE_VERSION: integer(1)}),
    "bind_transmitter": (pdus.BindTransmitter, {}),
    "bind_transmitter_resp": (pdus.BindTransmitterResp, {Tag.SC_INTERFACE_VERSION: integer(1)}),
    "bind_transceiver": (pdus.BindTransceiver, {}),
    "bind_transceiver_resp": (pdus.BindTransceiverResp, {Tag.SC_INTERFACE_VERSION: integer(1)}),
    "submit_sm": (
        pdus.SubmitSm,
        {
            **MESSAGE_TLVS,
            Tag.MORE_MESSAGES_TO_SEND: integer(1),
            Tag.PAYLOAD_TYPE: integer(1),
            Tag.PRIVACY_INDICATOR: integer(1),
            Tag.USSD_SERVICE_OP: integer(1),
        },
    ),
    "submit_sm_resp": (pdus.SubmitSmResp, {}),
    "deliver_sm": (
        pdus.DeliverSm,
        {
            **MESSAGE_TLVS,
            Tag.LANGUAGE_INDICATOR: integer(1),
            Tag.NETWORK_ERROR_CODE: octets(3, 3),
            Tag.MESSAGE_STATE: integer(1),
            Tag.RECEIPTED_MESSAGE_ID: string,
        },
    ),
    "deliver_sm_resp": (pdus.DeliverSmResp, {}),
    "data_sm": (
        pdus.DataSm,
        {
            Tag.SOURCE_PORT: integer(2),
            Tag.MESSAGE_PAYLOAD: octets(1, 250),
            Tag.RECEIPTED_MESSAGE_ID: string,
            Tag.MESSAGE_STATE: integer(1),
            Tag.NETWORK_ERROR_CODE: octets(3, 3),
            Tag.USER_MESSAGE_REFERENCE: integer(2),
        },
    ),
    "data_sm_resp": (pdus.DataSmResp, {}),
    "query_sm": (pdus.QuerySm, {}),
    "query_sm_resp": (pdus.QuerySmResp, {}),
    "enquire_link": (pdus.EnquireLink, {}),
    "enquire_link_resp": (pdus.EnquireLinkResp, {}),
    "unbind": (pdus.Unbind, {}),
    "unbind_resp": (pdus.UnbindResp, {}),
    "generic_nack": (pdus.GenericNack, {}),
    "alert_notification": (pdus.AlertNotification, {Tag.MS_AVAILABILITY_STATUS: integer(1)}),
}


def changes(pdu):
    """What of `pdu` smpplib cannot express, expressed as it can."""
    if isinstance(pdu, pdus.Bind):
        # Its constructor sets this one.
        return {"interface_version": 0x34}
    if isinstance(pdu, pdus.QuerySm):
        return {"message_id": pdu.message_id or "1"}
    if isinstance(pdu, pdus.DataSm | pdus.AlertNotification):
        # It cuts these addresses at 20 characters; SMPP 3.4 allows 64.
        return {
            name: getattr(pdu, name)[:20]
            for name in structs.asdict(pdu)
            if name in ("source_addr", "destination_addr", "esme_addr")
        }
    return {}


@st.composite
def both(draw, name):
    """One of our PDUs, and its fields as smpplib wants them."""
    kind, optional = NAMES[name]
    pdu = draw(PDUS[kind])
    pdu = structs.replace(pdu, **changes(pdu))
    tlvs, theirs = {}, {}
    for tag, values in optional.items():
        if draw(st.booleans()):
            theirs[tag.name.lower()], tlvs[int(tag)] = draw(values)
    if hasattr(pdu, "tlvs"):
        pdu = structs.replace(pdu, tlvs=tlvs)
    fields = structs.asdict(pdu)
    fields.pop("tlvs", None)
    return pdu, {**fields, **theirs}


def test_nothing_that_smpplib_has_is_left_out():
    for name in commands:
        try:
            factory(name, client=Client())
        except smpplib.exceptions.UnknownCommandError:
            assert name not in NAMES
        else:
            assert name in NAMES


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_smpplib_writes_what_we_write_and_we_read_it(name, data):
    ours, fields = data.draw(both(name))
    theirs = smpplib.smpp.make_pdu(name, client=Client(), **fields)
    theirs.sequence = 42
    assert theirs.generate() == encode(ours, sequence_number=42)
    assert decode(theirs.generate()) == (0, 42, ours)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_smpplib_reads_what_we_write(name, data):
    ours, fields = data.draw(both(name))
    theirs = smpplib.smpp.parse_pdu(encode(ours, sequence_number=42), client=Client())
    assert (theirs.command, theirs.status, theirs.sequence) == (name, 0, 42)
    for field, value in fields.items():
        expected = value.encode("latin-1") if isinstance(value, str) else value
        assert (getattr(theirs, field) or type(expected)()) == expected, field


def test_smpplib_knows_the_same_statuses_and_commands():
    theirs = vars(smpplib.consts)
    for status in CommandStatus:
        name = f"SMPP_{status.name}"
        if name in theirs:
            assert theirs[name] == status, name
    assert {name.upper(): code for name, code in commands.items()} == {
        command_id.name: command_id for command_id in CommandId
    }
