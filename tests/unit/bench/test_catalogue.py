import pytest

from infra.bench.catalogue import SCENARIOS

ASKED_FOR = [
    "pool",
    "durable-path",
    "throttle",
    "otp-priority",
    "link-kill",
    "silent-peer",
    "early-receipts",
    "pool-kill",
    "carrier-down",
    "mixed-faults",
    "adapter-overhead",
    "adapter-concurrency",
    "adapter-hot-swap",
    "adapter-hostile",
    "adapter-isolation",
    "pipeline",
    "routing",
    "suppression",
    "noisy-tenant",
    "callbacks",
    "ledger",
    "mission",
    "in-flight",
    "chaos",
    "three-nodes",
    "temporal",
    "growth",
]


def test_every_scenario_that_was_asked_for_is_there():
    assert list(SCENARIOS) == ASKED_FOR


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_bars_have_names_of_their_own_and_something_is_never_lost(scenario):
    names = [bar.name for bar in scenario.bars]
    assert len(set(names)) == len(names)
    assert any(name.startswith("lost") for name in names)
