"""Several endpoint processes behind one address, as `hermes bench --scenario growth` has them."""

import pytest

from infra.bench.scenario import Run
from infra.bench.scenarios.growth import alone

SECONDS = 4.0


@pytest.mark.timeout(180)
def test_two_endpoint_processes_at_one_address_share_the_messages(tmp_path):
    measured = alone(Run(tmp_path, 1, SECONDS), endpoints=2, partitions=2)
    assert (measured.lost, measured.copies) == (0, 0)
    assert measured.rate > 0
    assert measured.busiest < 0.9
