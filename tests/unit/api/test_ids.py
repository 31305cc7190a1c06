"""Message ids."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.ids import RANDOMNESS, derived_id, fresh_id, is_message_id

TIMES = st.integers(1_500_000_000_000, 16_000_000_000_000).map(
    lambda milliseconds: datetime.fromtimestamp(milliseconds / 1000, UTC)
)
RANDOM = st.binary(min_size=RANDOMNESS, max_size=RANDOMNESS)


@given(TIMES, RANDOM, RANDOM)
def test_fresh_ids_sort_by_time(now, one, other):
    later = fresh_id(now + timedelta(milliseconds=1), other)
    assert is_message_id(later)
    assert fresh_id(now, one) < later


def test_the_layout_is_a_uuidv7s():
    now = datetime(2026, 5, 1, tzinfo=UTC)
    bits = 0
    for character in fresh_id(now, b"\xff" * 10).removeprefix("msg_"):
        bits = bits << 5 | "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(character)
    assert bits >> 80 == now.timestamp() * 1000
    assert bits >> 76 & 0xF == 7
    assert bits >> 62 & 0b11 == 0b10


@given(st.text("ab:", max_size=4), st.text("ab:", max_size=4))
def test_tenant_and_key_cannot_be_mistaken_for_each_other(left, right):
    assert (derived_id(left, right) == derived_id(right, left)) is (left == right)


def test_a_derived_id_is_the_same_every_time_and_differs_by_place():
    assert derived_id("t", "k") == derived_id("t", "k")
    ids = {derived_id("t", "k"), derived_id("t", "k", 0), derived_id("t", "k", 1)}
    assert len(ids) == 3
    assert all(map(is_message_id, ids))


def test_other_texts_are_no_ids():
    good = derived_id("t", "k")
    for bad in (
        "",
        "msg_",
        good + "\n",
        good[:-1],
        good.lower(),
        good[:-1] + "U",
        "msg_8" + good[5:],
    ):
        assert not is_message_id(bad), bad
