"""What makes a measured load worth nothing."""

import pytest

from infra.bench.saturation import only_these


@pytest.mark.parametrize(
    "now",
    [
        pytest.param({"api": 1, "endpoint": 3}, id="started anew"),
        pytest.param({"api": 1}, id="gone"),
        pytest.param({"api": 1, "endpoint": 2, "pool": 4}, id="come"),
    ],
)
def test_processes_that_changed_meanwhile_have_no_account(now):
    with pytest.raises(RuntimeError, match="processes have changed"):
        only_these({"api": 1, "endpoint": 2}.items(), now.items())


def test_the_same_processes_have_one():
    only_these({"api": 1, "endpoint": 2}.items(), {"endpoint": 2, "api": 1}.items())
