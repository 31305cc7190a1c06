from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from domain.timeline import Status
from infra.bench.ledger import Books
from infra.bench.scenarios.three_nodes import delivered_at, longest_pause


@pytest.mark.parametrize(
    ("moments", "longest"),
    [
        pytest.param([1.0, 2.0, 5.5, 6.0, 10.0], 4.0, id="between two"),
        pytest.param([6.0, 1.0, 9.0], 5.0, id="in any order"),
        pytest.param([7.0, 8.0], 7.0, id="before the first one"),
        pytest.param([1.0, 2.0], 8.0, id="after the last one"),
        pytest.param([1.0, 5.0, 9.0, 40.0, -3.0], 4.0, id="outside nobody looks"),
        pytest.param([], None, id="not one"),
        pytest.param([11.0], None, id="not one inside"),
    ],
)
def test_the_longest_time_in_which_nothing_happened(moments, longest):
    assert longest_pause(moments, 0.0, 10.0) == longest


def test_an_end_without_delivery_is_no_delivery():
    noon = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
    ended = {
        status.value: SimpleNamespace(status=status, ended_at=noon)
        for status in Status
        if status.terminal
    }
    assert delivered_at(Books(len(ended), ended, ())) == [noon.timestamp()]
