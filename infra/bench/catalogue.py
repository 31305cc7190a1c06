"""Every scenario that `hermes bench` knows."""

from __future__ import annotations

from infra.bench.scenario import Scenario
from infra.bench.scenarios import (
    adapter_concurrency,
    adapter_hostile,
    adapter_hot_swap,
    adapter_isolation,
    adapter_overhead,
    callbacks,
    carrier_down,
    chaos,
    durable_path,
    early_receipts,
    growth,
    in_flight,
    ledger,
    link_kill,
    mission,
    mixed_faults,
    noisy_tenant,
    otp_priority,
    pipeline,
    pool,
    pool_kill,
    routing,
    silent_peer,
    suppression,
    temporal,
    three_nodes,
    throttle,
)

SCENARIOS: dict[str, Scenario] = {
    module.SCENARIO.name: module.SCENARIO
    for module in (
        pool,
        durable_path,
        throttle,
        otp_priority,
        link_kill,
        silent_peer,
        early_receipts,
        pool_kill,
        carrier_down,
        mixed_faults,
        adapter_overhead,
        adapter_concurrency,
        adapter_hot_swap,
        adapter_hostile,
        adapter_isolation,
        pipeline,
        routing,
        suppression,
        noisy_tenant,
        callbacks,
        ledger,
        mission,
        in_flight,
        chaos,
        three_nodes,
        temporal,
        growth,
    )
}
"""By name, in the order in which they are listed."""
