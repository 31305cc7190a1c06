import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.sms import gsm0338
from domain.sms.segmentation import (
    GSM7_PART,
    GSM7_SINGLE,
    UCS2_PART,
    UCS2_SINGLE,
    TooManyPartsError,
    count_segments,
    segment,
)


@pytest.mark.parametrize(
    ("text", "encoding", "lengths"),
    [
        ("", "gsm7", [0]),
        ("a" * 160, "gsm7", [160]),
        ("a" * 161, "gsm7", [153, 8]),
        ("a" * 306, "gsm7", [153, 153]),
        ("a" * 307, "gsm7", [153, 153, 1]),
        ("å" * 160, "gsm7", [160]),
        ("€" * 80, "gsm7", [160]),
        ("€" * 81, "gsm7", [152, 10]),
        ("a" * 152 + "€" + "b" * 10, "gsm7", [152, 12]),
        ("a" * 151 + "€" + "b" * 10, "gsm7", [153, 10]),
        ("Ж" * 70, "ucs2", [140]),
        ("Ж" * 71, "ucs2", [134, 8]),
        ("😀" * 35, "ucs2", [140]),
        ("😀" * 36, "ucs2", [132, 12]),
        ("Ж" * 66 + "😀" + "Ж" * 10, "ucs2", [132, 24]),
        ("a" * 159 + "`", "ucs2", [134, 134, 52]),
    ],
)
def test_cuts(text, encoding, lengths):
    segmented = segment(text, reference=7)
    assert segmented.encoding == encoding
    assert segmented.data_coding == {"gsm7": 0, "ucs2": 8}[encoding]
    assert [len(part) for part in segmented.parts] == lengths
    assert count_segments(text) == (encoding, len(lengths))


def test_udh():
    segmented = segment("a" * 400, reference=0xAB)
    assert [segmented.udh(index) for index in range(3)] == [
        bytes.fromhex("050003ab0301"),
        bytes.fromhex("050003ab0302"),
        bytes.fromhex("050003ab0303"),
    ]
    with pytest.raises(IndexError):
        segmented.udh(3)
    assert segment("short", reference=1).udh(0) == b""


@pytest.mark.parametrize("reference", [-1, 256])
def test_reference_is_one_octet(reference):
    with pytest.raises(ValueError, match=r"0\.\.255"):
        segment("a", reference=reference)


def test_no_more_parts_than_the_header_can_number():
    assert len(segment("a" * (GSM7_PART * 255), reference=1).parts) == 255
    with pytest.raises(TooManyPartsError):
        segment("a" * (GSM7_PART * 255 + 1), reference=1)
    assert count_segments("a" * (GSM7_PART * 255 + 1)) == ("gsm7", 256)


def test_a_lone_surrogate_cannot_be_sent():
    with pytest.raises(UnicodeEncodeError):
        segment("\ud83d", reference=1)
    with pytest.raises(UnicodeEncodeError):
        count_segments("\ud83d")


texts = st.one_of(
    st.text(alphabet="a@€{å", max_size=600),
    st.text(alphabet=st.sampled_from("aЖ😀"), max_size=300),
    st.text(max_size=300),
)


@given(texts)
def test_parts_join_to_the_text_and_each_reads_alone(text):
    segmented = segment(text, reference=0)
    if segmented.encoding == "gsm7":
        single, size = GSM7_SINGLE, GSM7_PART
        read = gsm0338.decode
    else:
        single, size = UCS2_SINGLE, UCS2_PART

        def read(part):
            return part.decode("utf-16-be")

    assert "".join(read(part) for part in segmented.parts) == text
    assert count_segments(text) == (segmented.encoding, len(segmented.parts))
    bound = single if len(segmented.parts) == 1 else size
    assert all(len(part) <= bound for part in segmented.parts)
