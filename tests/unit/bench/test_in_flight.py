"""Which messages [in-flight] holds to have ended too early."""

from datetime import timedelta

import pytest

from infra.bench.scenarios.in_flight import early
from tests.unit.bench.test_ledger import NOON, ended, submitted

END = NOON.timestamp()


@pytest.mark.parametrize(
    ("receipts", "found"),
    [
        pytest.param({"text": END - 0.01}, 0, id="after its own receipt"),
        pytest.param({"text": END + 0.01}, 1, id="before its own receipt"),
        pytest.param({"another": END - 60}, 1, id="after another's, and none of its own"),
    ],
)
def test_a_message_ends_after_its_own_receipt(receipts, found):
    message = ended(submitted())
    assert message.ended_at - NOON == timedelta()
    assert early({"text": message}, receipts) == found
