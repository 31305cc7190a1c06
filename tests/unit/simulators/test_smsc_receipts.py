"""How the simulator's receipts look: each format, style and notation, as bytes and as read."""

import asyncio
import itertools
import re
import time

import pytest

from adapters.smpp.protocol.constants import MessageState, Tag
from adapters.smpp.protocol.pdu import DataSm, DeliverSm, SubmitSm, encode
from adapters.smpp.protocol.receipt import parse_receipt
from infra.simulators.smsc import Options
from infra.simulators.smsc.kinds import IdFormat
from infra.simulators.smsc.receipts import (
    FORMATS,
    STYLES,
    id_in_receipt,
    id_in_response,
    style_of,
    write_receipt,
)
from tests.unit.simulators.esme import BIND, Esme
from tests.waiting import eventually

SUBMISSION = SubmitSm(
    source_addr_ton=5,
    source_addr="HERMES",
    dest_addr_ton=1,
    dest_addr_npi=1,
    destination_addr="4520000000",
    short_message=b"Hello, world! This is a long text.",
    tlvs={0x0204: b"\x02\x03"},
)


def written(receipt_format="tlv+text", style="standard", state=MessageState.DELIVERED, **more):
    """The receipt as the ESME decodes it."""
    command_id, body = write_receipt(
        SUBMISSION,
        SUBMISSION.short_message,
        "5CDA7830000001",
        state,
        receipt_format=receipt_format,
        style=style_of(style, 0),
        submitted_at=1_800_000_000,
        done_at=1_800_000_061,
    )
    pdu_type = DataSm if command_id == DataSm.command_id else DeliverSm
    assert command_id == pdu_type.command_id
    return pdu_type.decode_body(body, 0, len(body))


STANDARD = (
    b"id:5CDA7830000001 sub:001 dlvrd:001 submit date:2701150800 done date:2701150801 "
    b"stat:DELIVRD err:000 text:Hello, world! This i"
)
ID, STATE, ERROR, REFERENCE, PAYLOAD = 0x001E, 0x0427, 0x0423, 0x0204, 0x0424


@pytest.mark.parametrize(
    ("receipt_format", "text", "tlvs"),
    [
        ("tlv+text", STANDARD, {ID, STATE, REFERENCE}),
        ("text", STANDARD, set()),
        ("tlv", b"", {ID, STATE, ERROR, REFERENCE}),
        ("payload", b"", {PAYLOAD}),
        ("data_sm", None, {ID, STATE, ERROR, REFERENCE, PAYLOAD}),
    ],
)
def test_a_format_says_it_where_it_should(receipt_format, text, tlvs):
    pdu = written(receipt_format)
    assert isinstance(pdu, DataSm) == (text is None)
    assert text is None or pdu.short_message == text
    assert pdu.tlvs.keys() == tlvs
    assert pdu.tlvs.get(ID, b"5CDA7830000001\0") == b"5CDA7830000001\0"
    assert pdu.tlvs.get(STATE, b"\2") == b"\2"
    assert pdu.tlvs.get(REFERENCE, b"\2\3") == b"\2\3"
    assert pdu.tlvs.get(PAYLOAD, STANDARD) == STANDARD
    assert (pdu.esm_class, pdu.source_addr, pdu.destination_addr) == (4, "4520000000", "HERMES")
    assert (pdu.source_addr_ton, pdu.source_addr_npi, pdu.dest_addr_ton) == (1, 1, 5)


def test_every_format_is_tried():
    assert FORMATS == ("tlv+text", "text", "tlv", "payload", "data_sm")


@pytest.mark.parametrize(
    ("style", "state", "text"),
    [
        ("standard", MessageState.DELIVERED, STANDARD),
        (
            "upper",
            MessageState.EXPIRED,
            b"ID:5CDA7830000001 SUB:001 DLVRD:000 SUBMIT DATE:2701150800 DONE DATE:2701150801 "
            b"STAT:EXPIRED ERR:034 TEXT:Hello, world! This i",
        ),
        ("submitdate", MessageState.DELIVERED, STANDARD.replace(b" date:", b"date:")),
        (
            "seconds",
            MessageState.DELIVERED,
            STANDARD.replace(b"0800 done", b"080000 done").replace(b"0801 stat", b"080101 stat"),
        ),
        (
            "words",
            MessageState.REJECTED,
            STANDARD.replace(b"DELIVRD err:000", b"REJECTED err:008").replace(
                b"d:001 s", b"d:000 s"
            ),
        ),
        ("letters", MessageState.DELIVERED, STANDARD.replace(b"err:000", b"err:E00")),
        ("terse", MessageState.UNDELIVERABLE, b"id:5CDA7830000001 stat:UNDELIV"),
        (
            "reordered",
            MessageState.DELIVERED,
            b"stat:DELIVRD err:000 done date:2701150801 submit date:2701150800 dlvrd:001 sub:001 "
            b"id:5CDA7830000001 text:Hello, world! This i",
        ),
        (
            "trap",
            MessageState.DELIVERED,
            STANDARD.replace(b"Hello, world! This i", b"id:0 stat:REJECTD err:999"),
        ),
        (
            "ucs2",
            MessageState.DELIVERED,
            "id:5CDA7830000001 done date:2701150801 stat:DELIVRD err:000".encode("utf-16-be"),
        ),
    ],
)
def test_a_style_is_written(style, state, text):
    pdu = written("text", style, state)
    assert pdu.short_message == text
    assert pdu.data_coding == (8 if style == "ucs2" else 0)


@pytest.mark.parametrize("receipt_format", FORMATS)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("state", [s for s in MessageState if s.name in "EXPIRED UNDELIVERABLE"])
def test_every_style_fits_every_format(receipt_format, style, state):
    receipt = parse_receipt(written(receipt_format, style, state))
    assert (receipt.message_id, receipt.state, receipt.final) == ("5CDA7830000001", state, True)


def test_mixed_takes_each_style_in_turn():
    turns = [style_of("mixed", turn) for turn in range(2 * len(STYLES))]
    assert turns == [*STYLES.values(), *STYLES.values()]


@pytest.mark.parametrize(
    ("id_format", "response", "receipt"),
    [
        (IdFormat(), "5CDA7830000001", "5CDA7830000001"),
        (IdFormat("hex", "decimal"), "5CDA7830000001", "26135907593617409"),
        (IdFormat("decimal", "hex"), "26135907593617409", "5CDA7830000001"),
        (IdFormat("decimal", "padded", 20), "26135907593617409", "00026135907593617409"),
        (IdFormat("decimal", "padded", 3), "26135907593617409", "26135907593617409"),
        (IdFormat("text", "text"), "sms-5cda7830000001", "sms-5cda7830000001"),
    ],
)
def test_ids_are_written_in_their_notations(id_format, response, receipt):
    number = 0x5CDA7830000001
    assert id_in_response(number, id_format) == response
    assert id_in_receipt(number, id_format) == receipt


async def test_the_esme_gets_what_the_options_say(start):
    options = Options(
        id_format=IdFormat("hex", "padded", 24), receipt_format="data_sm", receipt_delay=0
    )
    simulator, port, _ = await start(options)
    esme = await Esme().bind(port)
    _, message_id = await esme.submit("4520000000")
    receipt, pdu = await esme.receipts.get()
    assert isinstance(pdu, DataSm)
    assert re.fullmatch("[1-9A-F][0-9A-F]{13}", message_id)
    assert (len(receipt.message_id), int(receipt.message_id)) == (24, int(message_id, 16))

    await simulator.change({"id_format": "text:text", "receipt_format": "payload"})
    _, message_id = await esme.submit("4520000000", b"2")
    receipt, pdu = await esme.receipts.get()
    assert isinstance(pdu, DeliverSm)
    assert pdu.tlvs.keys() == {Tag.MESSAGE_PAYLOAD}
    assert receipt.message_id == message_id
    assert message_id.startswith("sms-")


async def test_mixed_receipts_are_all_understood(start):
    _, port, _ = await start(Options(receipt_style="mixed", receipt_format="text", receipt_delay=0))
    esme = await Esme().bind(port)
    texts = set()
    for n in range(len(STYLES)):
        _, message_id = await esme.submit("4520000000", b"%d" % n)
        receipt, pdu = await esme.receipts.get()
        assert (receipt.message_id, receipt.state) == (message_id, MessageState.DELIVERED)
        texts.add(re.sub(rb"[0-9A-F]{2,}|text:.", b"", pdu.short_message))
    assert all(one != other for one, other in itertools.combinations(texts, 2))
    assert len(texts) >= len(STYLES) - 2


async def test_a_receipt_that_does_not_fit_is_left_out(start):
    """data_sm takes addresses of 64 characters, deliver_sm of 20."""
    simulator, port, _ = await start(Options(receipt_delay=0))
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    submission = DataSm(destination_addr="45" * 20, registered_delivery=1, tlvs={PAYLOAD: b"hi"})
    writer.write(encode(BIND, sequence_number=1) + encode(submission, sequence_number=2))
    await eventually(lambda: simulator.counters.accepted == 1)
    await eventually(lambda: simulator.stats()["receipts_scheduled"] == 0)
    writer.close()

    esme = await Esme().bind(port)
    _, message_id = await esme.submit("4520000000")
    assert (await esme.receipt()).message_id == message_id
    assert simulator.counters.receipts_sent == 1


async def test_receipts_that_are_kept_back_come_in_order_when_they_may(start):
    simulator, port, _ = await start(Options(receipt_delay=0, hold_receipts=True))
    esme = await Esme().bind(port)
    ids = [(await esme.submit("4520000000", b"%d" % n))[1] for n in range(3)]
    await eventually(lambda: simulator.stats()["receipts_held"] == 3)
    assert simulator.counters.receipts_sent == 0
    await simulator.change({"hold_receipts": False})
    assert [(await esme.receipt()).message_id for _ in ids] == ids
    assert simulator.stats()["receipts_held"] == 0


async def test_receipts_that_were_kept_back_come_at_their_rate(start):
    rate = 40.0
    simulator, port, _ = await start(
        Options(receipt_delay=0, hold_receipts=True, receipt_rate=rate)
    )
    esme = await Esme().bind(port)
    ids = [(await esme.submit("4520000000", b"%d" % n))[1] for n in range(10)]
    await eventually(lambda: simulator.stats()["receipts_held"] == 10)
    began = asyncio.get_running_loop().time()
    await simulator.change({"hold_receipts": False})
    # One that is due meanwhile waits for its turn.
    ids.append((await esme.submit("4520000000", b"last"))[1])
    assert [(await esme.receipt()).message_id for _ in ids] == ids
    assert asyncio.get_running_loop().time() - began >= 10 / rate


async def test_a_reset_forgets_what_is_kept_back(start):
    simulator, port, _ = await start(Options(receipt_delay=0, hold_receipts=True))
    esme = await Esme().bind(port)
    await esme.submit("4520000000", b"forgotten")
    await eventually(lambda: simulator.stats()["receipts_held"] == 1)
    simulator.reset()
    await simulator.change({"hold_receipts": False})
    _, message_id = await esme.submit("4520000000", b"told")
    assert (await esme.receipt()).message_id == message_id


async def test_when_the_receipt_of_each_message_was_sent_can_be_asked(start, call):
    simulator, port, url = await start(Options(receipt_delay=0, hold_receipts=True))
    esme = await Esme().bind(port)
    await esme.submit("1", b"a")
    await eventually(lambda: simulator.stats()["receipts_held"] == 1)
    _, held = await call("GET", f"{url}/accepted")
    assert held["accepted"][0]["receipts_at"] == [None]
    released = time.time()
    await simulator.change({"hold_receipts": False})
    await esme.receipt()
    _, sent = await call("GET", f"{url}/accepted")
    [at] = sent["accepted"][0]["receipts_at"]
    assert released <= at <= time.time()


async def test_an_intermediate_notification_is_no_receipt_yet(start):
    simulator, port, _ = await start(Options(receipt_delay=60, intermediate=True))
    esme = await Esme().bind(port)
    await esme.submit("1", b"a")
    await esme.receipt()
    assert simulator.submits[0].receipt_at is None
