"""What [mission] says of its own load."""

from infra.bench.load import Sent
from infra.bench.scenarios.mission import offered


def rows(sent, seconds):
    return {check.name.partition(",")[0]: check.measured for check in offered(sent, seconds)}


def test_what_left_late_was_offered_more_slowly():
    sent = Sent(left_at=[100.0 + number / 10 for number in range(101)], lag_ms=[0.0, 7.0])
    assert rows(sent, 5.0)["offered"] == 10.1


def test_what_left_in_time_counts_by_the_time_it_was_planned_for():
    assert rows(Sent(left_at=[100.0, 101.0, 102.0, 103.0]), 4.0)["offered"] == 1.0


def test_refusals_stand_there_by_code_and_a_lag_by_its_worst():
    said = rows(Sent(refused={"503": 2, "429": 1_200}, lag_ms=[1.0, 90.04]), 1.0)
    assert said["refused"] == "429: 1,200, 503: 2"
    assert said["the client's own lag behind its schedule"] == 90.0
    assert rows(Sent(), 1.0)["the client's own lag behind its schedule"] is None
