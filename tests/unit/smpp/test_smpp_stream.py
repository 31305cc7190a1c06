"""A whole session fed with any octets, cut in any way."""

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.smpp.protocol.constants import CommandStatus
from adapters.smpp.protocol.pdu import PDU_TYPES, EnquireLink, SubmitSm, Unbind, encode
from tests.fuzz.stream import IN_FLIGHT, SIDES, check, feed
from tests.unit.smpp.strategies import any_pdu

sequence = st.one_of(st.sampled_from(IN_FLIGHT), st.integers(0, 0xFFFFFFFF))
whole_pdu = st.builds(
    lambda pdu, sequence, status: encode(pdu, sequence_number=sequence, command_status=status),
    any_pdu,
    sequence,
    st.sampled_from([0, CommandStatus.ESME_RTHROTTLED]),
)
framed_garbage = st.builds(
    lambda command, status, sequence, body: (
        b"".join(
            number.to_bytes(4, "big") for number in (16 + len(body), command, status, sequence)
        )
        + body
    ),
    st.one_of(st.sampled_from(sorted(PDU_TYPES)), st.integers(0, 0xFFFFFFFF)),
    st.integers(0, 0xFF),
    sequence,
    st.binary(max_size=60),
)
streams = st.lists(
    st.one_of(whole_pdu, whole_pdu, framed_garbage, st.binary(max_size=40)), max_size=8
).map(b"".join)


def cut(stream, places):
    ends = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[start:end] for start, end in itertools.pairwise(ends)]


@pytest.mark.parametrize("side", SIDES)
@settings(max_examples=150, deadline=None)
@given(streams, st.lists(st.integers(0, 2000), max_size=6))
def test_any_stream_is_answered_the_same_however_it_is_cut(side, stream, places):
    async def run():
        whole = await feed(side, [stream])
        check(side, stream, whole)
        assert await feed(side, cut(stream, places)) == whole
        assert await feed(side, [stream[i : i + 1] for i in range(len(stream))]) == whole

    asyncio.run(run())


async def test_the_check_notices_what_it_should():
    stream = encode(EnquireLink(), sequence_number=9) + encode(SubmitSm(), sequence_number=10)
    outcome = await feed("smsc", [stream])
    check("smsc", stream, outcome)
    for wrong in (
        stream + encode(EnquireLink(), sequence_number=11),
        encode(EnquireLink(), sequence_number=9),
        encode(EnquireLink(), sequence_number=8) + encode(SubmitSm(), sequence_number=10),
        stream + encode(Unbind(), sequence_number=11),
    ):
        with pytest.raises(AssertionError):
            check("smsc", wrong, outcome)
