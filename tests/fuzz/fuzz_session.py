"""A coverage-guided fuzzer for the SMPP session, the codec and the receipt parser.

`python -m tests.fuzz.fuzz_session -max_total_time=60 [CORPUS] [libFuzzer's other options]` feeds
streams that reach new code to sessions of both sides (tests/fuzz/stream.py says what must hold),
and new texts to the receipt parser. It stops at the first input that breaks something, writes it
to a file `crash-…` and prints the traceback; given that file as its argument it does it again.
Without a CORPUS it begins with seeds from our own encoders and keeps nothing.

The first octet of an input chooses what is fed, the second how it is cut; the rest is the stream.
"""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["adapters.smpp"]):
    from adapters.smpp.protocol.constants import HEADER_LENGTH
    from adapters.smpp.protocol.pdu import (
        PDU_TYPES,
        AlertNotification,
        BindReceiver,
        BindTransceiver,
        BindTransmitter,
        CancelSm,
        DataSm,
        DeliverSm,
        DistributionList,
        Outbind,
        PduError,
        QuerySm,
        QuerySmResp,
        ReplaceSm,
        SmeAddress,
        SubmitMulti,
        SubmitMultiResp,
        SubmitSm,
        SubmitSmResp,
        UnsuccessfulSme,
        decode,
        decode_body,
        encode,
    )
    from adapters.smpp.protocol.receipt import parse_receipt
    from tests.fuzz.stream import IN_FLIGHT, SIDES, check, feed

_RECEIPT = (
    b"id:7b sub:001 dlvrd:001 submit date:2611212323 done date:2611212323 stat:DELIVRD err:000"
    b" text:id:9 stat:EXPIRED"
)
_EXAMPLES = (
    BindReceiver("esme", "secret"),
    BindTransmitter("esme", "secret", "type", 0x34, 1, 1, "45"),
    BindTransceiver("esme", "secret"),
    Outbind("smsc", "secret"),
    SubmitSm(destination_addr="45", short_message=b"hi", tlvs={0x0204: b"\0\1"}),
    SubmitSmResp("7b"),
    SubmitMulti(destinations=(SmeAddress(1, 1, "45"), DistributionList("all"))),
    SubmitMultiResp("7b", (UnsuccessfulSme(1, 1, "45", 11),)),
    DeliverSm(esm_class=4, short_message=_RECEIPT, tlvs={0x001E: b"7b\0", 0x0427: b"\2"}),
    DataSm(esm_class=4, destination_addr="45", tlvs={0x0424: _RECEIPT, 0x0423: b"\3\1\2"}),
    QuerySm("7b"),
    QuerySmResp("7b", "", 2, 0),
    CancelSm(message_id="7b"),
    ReplaceSm("7b", short_message=b"hi"),
    AlertNotification(source_addr="45", tlvs={0x0422: b"\0"}),
)
_BARE = [pdu for pdu in PDU_TYPES.values() if not pdu.__struct_fields__]
_loop = asyncio.new_event_loop()


def one_input(data: bytes) -> None:
    """Feed one input. Raises whatever is wrong."""
    if len(data) < 2:
        return
    kind, step, stream = data[0] % (len(SIDES) + 2), data[1] + 1, data[2:]
    if kind < len(SIDES):
        side = SIDES[kind]
        chunks = [stream[start : start + step] for start in range(0, len(stream), step)]
        outcome = _loop.run_until_complete(feed(side, chunks))
        check(side, stream, outcome)
        assert _loop.run_until_complete(feed(side, [stream])) == outcome
    elif kind == len(SIDES):
        _read_again(stream)
    else:
        receipt = parse_receipt(DeliverSm(esm_class=4, data_coding=step & 8, short_message=stream))
        assert receipt is None or receipt.message_id


def _read_again(frame: bytes) -> None:
    """What can be read can be written, is then read as the same, and ends where it says."""
    if len(frame) < HEADER_LENGTH:
        return
    end = len(frame)
    frame = end.to_bytes(4, "big") + frame[4:]
    try:
        status, sequence, pdu = decode(frame)
    except PduError:
        return
    assert decode_body(pdu.command_id, status, frame + frame, HEADER_LENGTH, end) == pdu
    if not status:
        assert decode(encode(pdu, sequence_number=sequence)) == (0, sequence, pdu)


def seeds() -> list[bytes]:
    """One input for each PDU and each thing that is fed, and one for the receipt's text."""
    examples = [*_EXAMPLES, *(pdu() for pdu in _BARE)]
    frames = [encode(pdu, sequence_number=IN_FLIGHT[0]) for pdu in examples]
    return [
        *(bytes((kind, 255)) + frame for kind in range(len(SIDES) + 1) for frame in frames),
        bytes((len(SIDES) + 1, 0)) + _RECEIPT,
    ]


def main() -> int:
    """Fuzz until libFuzzer's options say stop. Gives 0 unless something was found."""
    arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds()):
            (Path(corpus) / f"{number}").write_bytes(seed)
        # New inputs are written to the first directory, so the seeds come last.
        if not any(Path(argument).is_file() for argument in arguments):
            arguments.append(corpus)
        # The fuzzer never returns: it ends its process.
        fuzzer = os.fork()
        if not fuzzer:
            atheris.Setup([sys.argv[0], *arguments], one_input)
            atheris.Fuzz()
        return os.waitstatus_to_exitcode(os.waitpid(fuzzer, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
