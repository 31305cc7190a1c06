"""Parts come in any order, twice, and under references that were used before."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.smpp.inbound.parts import REFERENCE_VALID, gather, put_together, read_part
from adapters.smpp.protocol.constants import EsmClass, Tag
from adapters.smpp.protocol.pdu import DeliverSm
from domain.sms.segmentation import segment

NOON = 1_700_000_000.0


def part(number, total=3, text="x", *, reference=7, at=0.0, source="+4520100000"):
    """One part, `at` seconds after noon."""
    header = bytes([5, 0, 3, reference, total, number])
    pdu = DeliverSm(
        source_addr=source,
        source_addr_ton=1,
        destination_addr="1230",
        esm_class=EsmClass.UDHI,
        short_message=header + text.encode(),
    )
    return read_part("carrier", pdu, NOON + at)


def told(parts):
    """The messages' texts."""
    return [put_together(group, "gsm7").text for group in gather(parts)]


TEXTS = st.text(
    st.one_of(st.sampled_from("abc @€{}[]åØΩ💙"), st.characters(exclude_categories=["Cs"])),
    max_size=900,
)


def parts_of(text, reference, source, kind):
    """A long text as a phone cuts it, in one of the three ways of saying so."""
    cut = segment(text, reference=reference)
    for index, payload in enumerate(cut.parts):
        esm_class, header, tlvs = 0, b"", {}
        if len(cut.parts) > 1 and kind == "sar":
            tlvs = {
                int(Tag.SAR_MSG_REF_NUM): reference.to_bytes(2, "big"),
                int(Tag.SAR_TOTAL_SEGMENTS): bytes([len(cut.parts)]),
                int(Tag.SAR_SEGMENT_SEQNUM): bytes([index + 1]),
            }
        elif len(cut.parts) > 1:
            esm_class = int(EsmClass.UDHI)
            header = cut.udh(index)
            if kind == "udh16":
                header = b"\6\x08\4\0" + header[3:]
        pdu = DeliverSm(
            source_addr=source,
            esm_class=esm_class,
            data_coding=cut.data_coding,
            short_message=header + payload,
            tlvs=tlvs,
        )
        yield read_part("carrier", pdu, NOON)


@given(st.data())
def test_any_order_with_repeats_gives_the_texts(data):
    """Several messages at once: of different senders, or of one with different references."""
    texts = data.draw(st.lists(TEXTS, min_size=1, max_size=3), "texts")
    kind = data.draw(st.sampled_from(["udh8", "udh16", "sar"]), "kind")
    apart = data.draw(st.sampled_from(["source", "reference"]), "apart")
    stored = []
    for index, text in enumerate(texts):
        source = f"452010000{index}" if apart == "source" else "4520100000"
        parts = list(parts_of(text, 7 if apart == "source" else index, source, kind))
        if len(parts) > 1:
            parts += data.draw(st.lists(st.sampled_from(parts), max_size=3), "repeats")
        stored += parts
    order = data.draw(st.permutations(stored), "order")
    came = [replace(p, id=str(i), received_at=NOON + i) for i, p in enumerate(order)]
    groups = gather(came)
    assert sorted(put_together(group, "gsm7").text for group in groups) == sorted(texts)
    assert all(group.complete for group in groups)
    assert sorted(id_ for group in groups for id_ in group.ids) == sorted(p.id for p in came)


@given(st.permutations([part(n, 4, f"{n}", at=float(n)) for n in (1, 2, 4)]))
def test_the_id_is_that_of_the_parts_and_not_of_their_order(parts):
    [group] = gather(parts)
    [other] = gather(sorted(parts, key=lambda p: p.number))
    whole = put_together(group, "gsm7")
    assert whole == put_together(other, "gsm7")
    assert whole.id.startswith("mo_")
    # What is told of fewer parts is another message: one of the two would be lost otherwise.
    [fewer] = gather([p for p in parts if p.number != 4])
    assert put_together(fewer, "gsm7").id != whole.id


def test_ids_sort_by_time():
    ids = [put_together(gather([part(1, at=at)])[0], "gsm7").id for at in (0.0, 0.01, 5.0, 9e6)]
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    ("came", "text", "missing"),
    [
        ([1], "a…", (2, 3)),
        ([2], "…b…", (1, 3)),
        ([1, 3], "a…c", (2,)),
        ([3, 2], "…bc", (1,)),
        ([1, 2, 3], "abc", ()),
    ],
)
def test_what_is_missing_is_said(came, text, missing):
    stored = [part(n, text="abc"[n - 1], at=float(i)) for i, n in enumerate(came)]
    [group] = gather(stored)
    whole = put_together(group, "gsm7")
    assert (whole.text, whole.missing, whole.complete) == (text, missing, not missing)
    assert (whole.parts, whole.received_at.timestamp()) == (3, NOON)
    assert whole.last_at.timestamp() == NOON + len(came) - 1


def test_no_keyword_is_looked_for_in_the_middle_of_a_text():
    [group] = gather([part(2, text="STOP")])
    assert put_together(group, "gsm7").beginning == ""
    [group] = gather([part(1, text="STOP")])
    assert put_together(group, "gsm7").beginning == "STOP…"


@pytest.mark.parametrize(
    ("other", "messages"),
    [
        ({"source": "+4520100001"}, 2),
        ({"reference": 8}, 2),
        ({"total": 4}, 2),
        ({"at": REFERENCE_VALID + 1}, 2),
        ({"at": REFERENCE_VALID - 1}, 1),
    ],
)
def test_what_makes_parts_belong_together(other, messages):
    assert len(gather([part(1), part(2, **other)])) == messages


def test_a_reference_that_comes_again_with_another_text_is_another_message():
    came = [
        part(1, 2, "lost ", at=0),
        part(1, 2, "whole ", at=1),
        part(2, 2, "text", at=2),
    ]
    assert told(came) == ["lost …", "whole text"]


def test_two_copies_of_a_part_are_one_message():
    came = [part(1, 2, "a", at=0), part(1, 2, "a", at=1), part(2, 2, "b", at=2)]
    [group] = gather(came)
    assert sorted(group.ids) == sorted(p.id for p in came)


def test_messages_of_one_part_are_never_put_together():
    alone = [read_part("c", DeliverSm(short_message=b"yes"), NOON + n) for n in range(2)]
    assert told(alone) == ["yes", "yes"]
