import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.smpp.protocol.constants import MessageState
from adapters.smpp.protocol.pdu import DataSm, DeliverSm
from adapters.smpp.protocol.receipt import STATES, DeliveryReceipt, is_receipt, parse_receipt

TAIL = b" submit date:2611212323 done date:2611212323"


def text(octets, **fields):
    return parse_receipt(DeliverSm(esm_class=4, short_message=octets, **fields))


@pytest.mark.parametrize(
    ("octets", "message_id", "stat", "state", "error"),
    [
        (b"id:12345 sub:001 dlvrd:001" + TAIL + b" stat:DELIVRD err:000 text:id:99 stat:EXPIRED",
         "12345", "DELIVRD", MessageState.DELIVERED, "000"),
        (b"id:0118Z-0122I-2309U-57DGB sub:000 dlvrd:000 submitdate:180122230957 "
         b"donedate:000000000000 stat:REJECTED err:375 text:",
         "0118Z-0122I-2309U-57DGB", "REJECTED", MessageState.REJECTED, "375"),
        (b"id:64567564356765435676 sub:001 dlvrd:001 submit date:190608165232 "
         b"done date:190608165237 stat:DELIVRD err:000 text:Hello",
         "64567564356765435676", "DELIVRD", MessageState.DELIVERED, "000"),
        (b"id:1A2B3C stat:UNDELIV err:0x1F", "1A2B3C", "UNDELIV",
         MessageState.UNDELIVERABLE, "0x1F"),
        (b"ID:7 SUB:1 DLVRD:0 STAT:EXPIRED ERR:001 TEXT:x\0", "7", "EXPIRED",
         MessageState.EXPIRED, "001"),
        (b"stat:deleted, err:1; id:8", "8", "deleted", MessageState.DELETED, "1"),
        (b"id: 9 stat: DELIVRD err: 000", "9", "DELIVRD", MessageState.DELIVERED, "000"),
        (b"id:10 stat:DELIVRD err: text:ok", "10", "DELIVRD", MessageState.DELIVERED, None),
        (b"id:11 stat:DELIVRD\0", "11", "DELIVRD", MessageState.DELIVERED, None),
        (b"id:12 stat:UNKNOWN err:000 Text:", "12", "UNKNOWN", MessageState.UNKNOWN, "000"),
        (b"id:1 stat:DELIVRD id:2 stat:EXPIRED", "1", "DELIVRD", MessageState.DELIVERED, None),
    ],
)  # fmt: skip
def test_reads_what_carriers_send(octets, message_id, stat, state, error):
    assert text(octets) == DeliveryReceipt(message_id, state, error, True, stat)


@pytest.mark.parametrize(
    ("octets", "stat", "state"),
    [
        (b"id:1 stat:ENROUTE", "ENROUTE", MessageState.ENROUTE),
        (b"id:1 stat:ACCEPTD", "ACCEPTD", MessageState.ACCEPTED),
        (b"id:1 stat:BUFFRED", "BUFFRED", MessageState.ENROUTE),
        (b"id:1 stat:ROUTED", "ROUTED", MessageState.UNKNOWN),
        (b"id:1 stat: err:5", "", MessageState.UNKNOWN),
        (b"id:1", "", MessageState.UNKNOWN),
    ],
)
def test_states_after_which_more_may_come(octets, stat, state):
    receipt = text(octets)
    assert (receipt.stat, receipt.state, receipt.final) == (stat, state, False)


def test_tlvs_win_over_the_text():
    receipt = text(
        b"id:123 stat:EXPIRED err:7", tlvs={0x001E: b"7b\0", 0x0427: b"\2", 0x0423: b"\3\1\2"}
    )
    assert receipt == DeliveryReceipt("7b", MessageState.DELIVERED, "7", True, "EXPIRED")


def test_tlvs_alone_are_enough_also_in_a_data_sm():
    receipt = parse_receipt(
        DataSm(esm_class=4, tlvs={0x001E: b"abc", 0x0427: b"\5", 0x0423: b"\3\1\2"})
    )
    assert receipt == DeliveryReceipt("abc", MessageState.UNDELIVERABLE, "258", True, "")


def test_the_text_may_be_in_message_payload():
    payload = b"id:5 stat:DELIVRD err:000 text:"
    for pdu in (
        DeliverSm(esm_class=4, tlvs={0x0424: payload}),
        DataSm(esm_class=4, tlvs={0x0424: payload}),
    ):
        assert parse_receipt(pdu).message_id == "5"


def test_an_intermediate_notification_is_never_final():
    receipt = parse_receipt(DeliverSm(esm_class=0x20, short_message=b"id:1 stat:DELIVRD"))
    assert receipt.state is MessageState.DELIVERED
    assert not receipt.final


@pytest.mark.parametrize("esm_class", [0, 0x40, 0x08, 0x10, 0x18, 0x80])
def test_a_message_is_no_receipt_whatever_it_says(esm_class):
    pdu = DeliverSm(esm_class=esm_class, short_message=b"id:1 stat:DELIVRD err:000")
    assert not is_receipt(pdu)
    assert parse_receipt(pdu) is None


def test_a_receipt_that_names_no_message():
    pdu = DeliverSm(esm_class=4, short_message=b"hello")
    assert is_receipt(pdu)
    assert parse_receipt(pdu) is None


@pytest.mark.parametrize("word", sorted(STATES))
def test_every_word_of_the_table_is_read_in_any_case(word):
    assert text(b"id:1 stat:" + word.lower().encode()).state is STATES[word]


@given(
    st.binary(max_size=300),
    st.sampled_from([4, 0x20, 0x44]),
    st.dictionaries(st.sampled_from([0x001E, 0x0423, 0x0424]), st.binary(min_size=3, max_size=3)),
)
def test_never_raises(octets, esm_class, tlvs):
    pdu = DeliverSm(esm_class=esm_class, short_message=octets, tlvs=tlvs)
    receipt = parse_receipt(pdu)
    assert receipt is None or receipt.message_id
