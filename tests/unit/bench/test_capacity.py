"""What a load needs, by figures that one can reckon in one's head."""

from dataclasses import replace

import pytest

from infra.bench.capacity import Costs, Demand, Means, needed

COSTS = Costs(
    cpu_ms={"api": 1.0, "restate": 4.0, "endpoint": 2.0, "pool": 0.5},
    log_bytes=10_000,
    log_syncs=0.25,
    kept_bytes={"message log": 2_000, "SMPP journal": 500},
    memory_mb={"api": 100, "restate": 1_000, "endpoint": 200, "pool": 50},
)
DEMAND = Demand(a_day=8_640_000, peak=400.0, sms=0.5, waiting=10.0)
MEANS = Means(
    cores=4,
    use=0.5,
    copies=2,
    bind_rate=100.0,
    kept_days={"message log": 10.0, "SMPP journal": 8.0},
)


def test_one_demand_from_end_to_end():
    need = needed(COSTS, DEMAND, MEANS)
    assert (need.average, need.peak) == (100.0, 400.0)
    assert need.cores == pytest.approx({"api": 0.4, "restate": 1.6, "endpoint": 0.8, "pool": 0.2})
    # 3 cores, of which a node has 2 to give: two nodes, and one to spare.
    assert need.nodes == 3
    assert need.processes == {"api": 1, "restate": 3, "endpoint": 2, "pool": 1}
    assert need.log_mb_s == 8.0
    assert need.log_gb_day == pytest.approx(172.8)
    assert need.syncs_s == 200.0
    assert need.stored_gb == pytest.approx({"message log": 172.8, "SMPP journal": 34.56})
    assert need.in_flight == 4_000
    assert need.memory_gb == pytest.approx(0.1 + 3 * 1.0 + 2 * 0.2 + 0.05)
    assert need.binds == 2


@pytest.mark.parametrize(
    ("peak", "nodes"),
    [
        pytest.param(0.0, 3, id="nothing to do, and a cluster all the same"),
        pytest.param(533.0, 3, id="just two nodes' work"),
        pytest.param(540.0, 4, id="more than two nodes' work"),
        pytest.param(4_000.0, 16, id="ten times as much"),
    ],
)
def test_nodes_for_a_peak_and_one_that_may_fail(peak, nodes):
    assert needed(COSTS, replace(DEMAND, peak=peak), MEANS).nodes == nodes


@pytest.mark.parametrize(
    ("peak", "endpoints"),
    [(0.0, 1), (250.0, 1), (251.0, 2), (2_500.0, 10)],
)
def test_a_process_of_ours_has_one_core_and_gives_a_share_of_it(peak, endpoints):
    assert needed(COSTS, replace(DEMAND, peak=peak), MEANS).processes["endpoint"] == endpoints


@pytest.mark.parametrize(
    ("sms", "peak", "binds"), [(0.0, 400.0, 0), (1.0, 400.0, 4), (0.3, 401.0, 2)]
)
def test_binds_for_those_that_go_over_them(sms, peak, binds):
    assert needed(COSTS, replace(DEMAND, sms=sms, peak=peak), MEANS).binds == binds


def test_twice_the_messages_need_twice_of_all_that_grows():
    one = needed(COSTS, DEMAND, MEANS)
    two = needed(COSTS, replace(DEMAND, a_day=2 * DEMAND.a_day, peak=2 * DEMAND.peak), MEANS)
    assert two.log_gb_day == 2 * one.log_gb_day
    assert two.log_mb_s == 2 * one.log_mb_s
    assert two.in_flight == 2 * one.in_flight
    assert two.stored_gb == {name: 2 * size for name, size in one.stored_gb.items()}


def test_a_store_that_nobody_has_said_how_long_to_keep_is_left_out():
    assert (
        "SMPP journal"
        not in needed(COSTS, DEMAND, replace(MEANS, kept_days={"message log": 1.0})).stored_gb
    )
