"""A short course of chaos: everything that can break, by one seed, and each message counted.

`hermes bench --scenario chaos` is the same for three minutes, with any seed.
"""

from dataclasses import replace
from functools import partial

import pytest

from infra.bench.faults import draw
from infra.bench.scenario import carry_out
from infra.bench.scenarios import chaos
from infra.bench.scenarios.chaos import FAULTS, SCENARIO

SEED, SECONDS, RATE = 108, 25.0, 40.0
"""Few faults, and among them a full disk, a killed restate-server, and a clock that is stepped."""


@pytest.mark.timeout(420)
def test_short_chaos_loses_nothing_and_repeats_nothing_unsaid(capsys):
    names = [blow.fault.name for blow in draw(SEED, SECONDS, FAULTS)]
    # Whoever adds a kind of fault chooses another seed.
    assert {"pool: disk full", "restate: kill -9", "clock: stepped and stepped back"} <= {*names}
    with capsys.disabled():
        print(f"\nchaos, seed {SEED}: {', '.join(names)}")
    short = replace(SCENARIO, run=partial(chaos.run, rate=RATE))
    report = carry_out(short, seed=SEED, duration=SECONDS, complain=print)
    assert report.ok, [check.as_dict() for check in report.checks if not check.ok]
