"""Two processes charge and are killed. `hermes bench ledger` does it with 100,000 messages."""

from __future__ import annotations

from decimal import Decimal

from infra.bench import tills


async def test_killed_while_they_charge(where):
    counted = await tills.run(where, messages=250, kills=2, seed=7)
    assert counted.kills == 2
    assert counted.wrong_attempts == []
    assert counted.answers_that_changed == 0
    assert counted.difference == Decimal(0)
    assert counted.overdrawn == 0
    assert [finding.name for finding in counted.findings if not finding.ok] == []
    # The count itself is of something.
    assert sum(counted.expected.values()) > 1
