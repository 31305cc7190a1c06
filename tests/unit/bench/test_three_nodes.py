import pytest

from infra.bench.scenarios.three_nodes import longest_pause


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
