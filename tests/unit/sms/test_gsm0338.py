import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.sms import gsm0338

ALPHABET = gsm0338.BASIC.replace("\x1b", "") + "".join(gsm0338.EXTENSION)


@pytest.mark.parametrize(
    ("text", "septets"),
    [
        ("", b""),
        ("@", b"\x00"),
        ("A1 z", b"A1 z"),
        ("æøåÆØÅ", bytes([0x1D, 0x0C, 0x0F, 0x1C, 0x0B, 0x0E])),
        ("Ç", b"\x09"),
        ("$", b"\x02"),
        ("_", b"\x11"),
        ("€", b"\x1b\x65"),
        ("[{}]", b"\x1b\x3c\x1b\x28\x1b\x29\x1b\x3e"),
        ("^~|\\\f", b"\x1b\x14\x1b\x3d\x1b\x40\x1b\x2f\x1b\x0a"),
        ("@€@", b"\x00\x1b\x65\x00"),
    ],
)
def test_encodes(text, septets):
    assert gsm0338.encode(text) == septets
    assert gsm0338.count_septets(text) == len(septets)
    assert gsm0338.decode(septets) == text


@pytest.mark.parametrize(
    "text", ["\0", "\x1b", "`", "ç", "Ж", "😀", "\ud800", "\x80", "\x9b", "\t"]
)
def test_what_the_alphabet_lacks(text):
    assert gsm0338.encode("ok" + text) is None
    assert gsm0338.count_septets("ok" + text) is None


def test_every_septet_but_escape_is_one_character():
    assert len(gsm0338.BASIC) == len(set(gsm0338.BASIC)) == 128
    for septet in set(range(128)) - {gsm0338.ESCAPE}:
        assert gsm0338.encode(gsm0338.decode(bytes([septet]))) == bytes([septet])


@pytest.mark.parametrize(
    ("septets", "text"),
    [(b"\x1bA", "A"), (b"a\x1b", "a "), (b"\x1b\x1b", " "), (b"\x1b\x1be", " e")],
)
def test_decodes_unknown_extensions_as_a_receiver_should(septets, text):
    assert gsm0338.decode(septets) == text


def test_refuses_octets_that_are_no_septets():
    with pytest.raises(ValueError, match="high bit"):
        gsm0338.decode(b"\x80")


@given(st.text(alphabet=ALPHABET))
def test_round_trip(text):
    septets = gsm0338.encode(text)
    assert septets is not None
    assert septets.isascii()
    assert gsm0338.count_septets(text) == len(septets)
    assert gsm0338.decode(septets) == text


@given(st.binary().map(lambda octets: bytes(octet & 0x7F for octet in octets)))
def test_decodes_any_septets(septets):
    assert len(gsm0338.decode(septets)) <= len(septets)
