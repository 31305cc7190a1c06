"""Two carriers of which one cuts a text into more short messages than the other: an attempt that
was begun for the one and is asked for again while the other has room."""

from __future__ import annotations

import pytest

from domain.delivery import SubmissionState
from infra.simulators.smsc.kinds import StatusEvery
from tests.unit.smpp_pool.conftest import config_for
from tests.waiting import eventually

THROTTLED = 0x58
# The euro sign is in GSM 03.38, and not in Latin 1: there, the text goes as UCS-2.
TEXT = "Your code is 4711. " + "x" * 80 + " €"


@pytest.fixture
async def carriers(smsc, pool):
    """A pool with x, which takes the text in one part, and y, which takes it in two."""

    async def start(**faults):
        x, y = await smsc(**faults), await smsc()
        other = config_for(y.port, name="y", default_alphabet="latin1")
        hermes = await pool(x, name="x", more=(other,))
        await eventually(lambda: all(each.bound for each in hermes.binds.mesh.carriers))
        return hermes, x, y

    return start


async def test_what_one_throttled_goes_by_the_other(carriers, request_for, monkeypatch):
    monkeypatch.setattr("adapters.smpp.pool.HOLD", 0.3)
    hermes, x, y = await carriers(status_every=StatusEvery(1, THROTTLED))
    first = await hermes.deliver(request_for(text=TEXT))
    assert (first.state, first.provider) == (SubmissionState.BUSY, "x")
    await x.stop()
    await eventually(lambda: not hermes.carrier.usable)
    again = await hermes.deliver(request_for(text=TEXT))
    assert (again.state, again.provider) == (SubmissionState.TAKEN, "y")
    assert len(y.submits) == 2


async def test_what_one_took_is_not_in_doubt_when_only_the_other_is_up(carriers, request_for):
    hermes, x, y = await carriers(hold_receipts=True)
    first = await hermes.deliver(request_for(text=TEXT))
    assert (first.state, first.provider) == (SubmissionState.TAKEN, "x")
    await x.stop()
    await eventually(lambda: not hermes.carrier.usable)
    again = await hermes.deliver(request_for(text=TEXT))
    assert (again.state, again.provider_ids) == (SubmissionState.TAKEN, first.provider_ids)
    assert len(y.submits) == 0
