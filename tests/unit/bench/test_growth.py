"""What [growth] makes of its measurements."""

import pytest

from infra.bench.capacity import needed
from infra.bench.saturation import Measured
from infra.bench.scenarios.growth import (
    CLUSTER,
    DEMANDS,
    ENDPOINTS,
    LATE,
    MEANS,
    PARTITIONS,
    costs,
    figures,
)


def measured(rate=100.0, restate=1.0, **more):
    return Measured(
        **{
            "rate": rate,
            "cpu_ms": {"api": 0.5, "restate": restate, "endpoint": 0.75, "pool": 0.25},
            "memory_mb": {"api": 100.0, "restate": 600.0, "endpoint": 150.0, "pool": 90.0},
            "kept_bytes": {"message log": 2_000.0, "SMPP journal": 400.0},
            "busiest": 0.5,
            "work": {"bytes in the log, synced": 4_000.0, "syncs of the log": 0.2},
            "lost": 0,
            "copies": 0,
            "otherwise": 0,
            "others": 0.25,
            "refused": 0,
            **more,
        }
    )


def test_a_replicated_server_costs_as_much_more_as_it_did_under_a_full_load():
    late = measured(restate=3.0, work={"bytes in the log, synced": 9_000, "syncs of the log": 1})
    found = costs(measured(restate=1.0), late, measured(restate=2.5))
    assert found.cpu_ms == {"api": 0.5, "restate": 7.5, "endpoint": 0.75, "pool": 0.25}
    assert (found.log_bytes, found.log_syncs) == (9_000, 1)
    # Of three servers, one.
    assert found.memory_mb["restate"] == 200.0


@pytest.fixture
def document():
    """The figures, each combination at a rate that says which it is."""
    grid = {
        (endpoints, partitions): measured(rate=100.0 * endpoints + partitions)
        for endpoints in ENDPOINTS
        for partitions in PARTITIONS
    }
    found = costs(grid[1, 1], measured(), measured(rate=77.0))
    needs = {name: needed(found, demand, MEANS) for name, demand in DEMANDS.items()}
    return figures(10.0, grid, {LATE: measured(), CLUSTER: measured(rate=77.0)}, found, needs)


def test_each_combination_stands_in_its_row_and_column(document):
    for endpoints in ENDPOINTS:
        cells = " | ".join(f"{100 * endpoints + partitions}" for partitions in PARTITIONS)
        assert f"\n| {endpoints} | {cells} |\n" in document


def test_the_row_that_is_no_full_load_is_told_apart(document):
    assert f"10 s each, closed loop, but for “{LATE}”: an open loop of 20 s;" in document


def test_a_reader_is_told_whether_the_machine_did_something_else(document):
    assert "other programs had 0.2 of" in document


def test_the_model_has_a_column_for_each_demand(document):
    assert f"\n| needed | {' | '.join(DEMANDS)} |\n" in document
    assert "\n| messages a second, average | 255 | 11,574 |\n" in document
    assert "\n| messages a second, peak | 1,000 | 45,455 |\n" in document
    assert "\n| in flight at the peak | 130,000 | 5,909,091 |\n" in document
