"""Hypothesis strategies for every PDU of SMPP 3.4."""

from hypothesis import strategies as st

from adapters.smpp.protocol import pdu as pdus
from adapters.smpp.protocol.constants import TLV_LENGTH

octet = st.integers(0, 255)


def c_string(size):
    """Any text that fits a C-Octet String of `size` octets with its NUL."""
    return st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=size - 1)


def _tlv(tag):
    length = TLV_LENGTH.get(tag)
    value = (
        st.binary(max_size=80) if length is None else st.binary(min_size=length, max_size=length)
    )
    return st.tuples(st.just(tag), value)


tlvs = st.lists(
    st.one_of(
        st.sampled_from([0x001E, 0x0204, 0x0422, 0x0424, 0x0427]), st.integers(0, 0xFFFF)
    ).flatmap(_tlv),
    max_size=4,
).map(dict)

_address = (octet, octet, c_string(21))
_long_address = (octet, octet, c_string(65))
_times = (c_string(17), c_string(17))
_short_message = st.binary(max_size=254)
_destination = st.one_of(
    st.builds(pdus.SmeAddress, *_address), st.builds(pdus.DistributionList, c_string(21))
)
_unsuccessful = st.builds(pdus.UnsuccessfulSme, *_address, st.integers(0, 0xFFFFFFFF))

_BIND = (c_string(16), c_string(9), c_string(13), octet, octet, octet, c_string(41))
_BIND_RESP = (c_string(16), tlvs)
_MESSAGE = (
    c_string(6), *_address, *_address, octet, octet, octet, *_times, octet, octet, octet, octet,
    _short_message, tlvs,
)  # fmt: skip
_MESSAGE_ID = (c_string(65), tlvs)

_FIELDS = {
    pdus.BindReceiver: _BIND,
    pdus.BindReceiverResp: _BIND_RESP,
    pdus.BindTransmitter: _BIND,
    pdus.BindTransmitterResp: _BIND_RESP,
    pdus.BindTransceiver: _BIND,
    pdus.BindTransceiverResp: _BIND_RESP,
    pdus.Outbind: (c_string(16), c_string(9)),
    pdus.Unbind: (),
    pdus.UnbindResp: (),
    pdus.GenericNack: (),
    pdus.SubmitSm: _MESSAGE,
    pdus.SubmitSmResp: _MESSAGE_ID,
    pdus.SubmitMulti: (
        c_string(6), *_address, st.lists(_destination, min_size=1, max_size=5).map(tuple),
        octet, octet, octet, *_times, octet, octet, octet, octet, _short_message, tlvs,
    ),
    pdus.SubmitMultiResp: (c_string(65), st.lists(_unsuccessful, max_size=5).map(tuple)),
    pdus.DeliverSm: _MESSAGE,
    pdus.DeliverSmResp: _MESSAGE_ID,
    pdus.DataSm: (c_string(6), *_long_address, *_long_address, octet, octet, octet, tlvs),
    pdus.DataSmResp: _MESSAGE_ID,
    pdus.QuerySm: (c_string(65), *_address),
    pdus.QuerySmResp: (c_string(65), c_string(17), octet, octet),
    pdus.CancelSm: (c_string(6), c_string(65), *_address, *_address),
    pdus.CancelSmResp: (),
    pdus.ReplaceSm: (c_string(65), *_address, *_times, octet, octet, _short_message),
    pdus.ReplaceSmResp: (),
    pdus.EnquireLink: (),
    pdus.EnquireLinkResp: (),
    pdus.AlertNotification: (*_long_address, *_long_address, tlvs),
}  # fmt: skip

PDUS = {kind: st.builds(kind, *fields) for kind, fields in _FIELDS.items()}
"""A strategy for each PDU type."""
any_pdu = st.one_of(*PDUS.values())
