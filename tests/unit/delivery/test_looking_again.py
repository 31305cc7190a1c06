"""A report on an attempt that the message's object does not know yet, and may never."""

import pytest

from virtual_objects import message

LOOKS = [
    # carried, pauses of the first one's length, carried on
    (None, 1, "1"),
    ("1", 2, "2"),
    ("60", 2, "61"),
    ("61", 4, "62"),
    ("70", 2048, "70"),
    ("71", 1, "1"),
    ("-1", 1, "1"),
    ("much", 1, "1"),
    ("", 1, "1"),
]


@pytest.mark.parametrize(("carried", "pauses", "carries"), LOOKS)
def test_it_is_looked_at_often_during_a_try_and_then_ever_less(carried, pauses, carries):
    # Where the cascade is tested in the same process, a look comes sooner.
    assert message.look_again(carried) == (message.LOOK_AGAIN * pauses, carries)
