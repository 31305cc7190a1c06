"""The node of restate-server that leads most of a cluster dies under load, and comes back.

`hermes bench --scenario three-nodes` is the same for a minute, and holds how long it takes against
bars of its own: here, whatever else the machine does counts, too.
"""

from dataclasses import replace
from functools import partial

import pytest

from infra.bench.scenario import carry_out
from infra.bench.scenarios import three_nodes
from infra.bench.scenarios.three_nodes import ACCEPTING, ANSWER, DELIVERING, END, SCENARIO

SECONDS, RATE = 18.0, 30.0
TIMES = {bar.name for bar in (ACCEPTING, DELIVERING, ANSWER, END)}


@pytest.mark.timeout(400)
def test_a_node_killed_under_load_loses_nothing_and_the_others_go_on():
    short = replace(SCENARIO, run=partial(three_nodes.run, rate=RATE))
    report = carry_out(short, duration=SECONDS, complain=print)
    counted = [check for check in report.checks if check.name not in TIMES]
    assert all(check.ok for check in counted), [c.as_dict() for c in counted if not c.ok]
    assert all(check.measured is not None for check in report.checks)
