import pytest

from infra.bench.scenario import (
    Report,
    Scenario,
    at_least,
    at_most,
    below,
    carry_out,
    exactly,
    percentile,
)


@pytest.mark.parametrize(
    ("bar", "measured", "ok"),
    [
        (at_least("rate", 5_000), 5_000, True),
        (at_least("rate", 5_000), 4_999.9, False),
        (at_most("cpu", 0.2), 0.2, True),
        (at_most("cpu", 0.2), 0.201, False),
        (at_most("cpu", 0.2), 0.2004, True),  # shown as 0.2
        (below("time", 5), 4.999, True),
        (below("time", 5), 5, False),
        (exactly("lost", 0), 0, True),
        (exactly("lost", 0), -1, False),
        (exactly("lost", 0), None, False),
    ],
)
def test_a_measurement_is_held_against_its_bar_as_it_is_shown(bar, measured, ok):
    assert bar.check(measured).ok is ok


@pytest.mark.parametrize(
    ("bar", "said"),
    [
        (at_least("rate", 5_000, "messages/s"), "≥ 5,000 messages/s"),
        (at_most("cpu", 0.2, "s per 1,000"), "≤ 0.2 s per 1,000"),
        (exactly("lost", 0), "= 0"),
        (at_most("duplicates", "outcomes unknown"), "≤ outcomes unknown"),
    ],
)
def test_a_bar_reads_as_people_write_it(bar, said):
    assert str(bar) == said


def test_a_limit_may_be_another_measurement():
    duplicates = at_most("duplicates", "outcomes unknown")
    assert duplicates.check(3, 3).ok
    failed = duplicates.check(4, 3)
    assert not failed.ok
    assert failed.bar == "≤ outcomes unknown (3)"
    with pytest.raises(ValueError, match="outcomes unknown"):
        duplicates.check(3)
    with pytest.raises(ValueError, match="lost"):
        exactly("lost", 0).check(3, 3)


LOST = exactly("lost", 0)
RATE = at_least("rate", 10)


def scenario(run, **more):
    return Scenario("made-up", "Nothing is done.", (LOST, RATE), run, **more)


def test_a_report_is_ok_when_every_bar_is_reached():
    report = carry_out(scenario(lambda run: [LOST.check(0), RATE.check(11)]))
    assert report.ok
    assert report.as_dict() == {
        "scenario": "made-up",
        "ok": True,
        "checks": [
            {"name": "lost", "measured": 0, "bar": "= 0", "ok": True},
            {"name": "rate", "measured": 11, "bar": "≥ 10", "ok": True},
        ],
    }


def test_one_missed_bar_fails_the_report():
    assert not carry_out(scenario(lambda run: [LOST.check(1), RATE.check(11)])).ok


def test_a_bar_that_was_not_measured_is_missed():
    report = carry_out(scenario(lambda run: [LOST.check(0)]))
    assert [(check.name, check.measured, check.ok) for check in report.checks] == [
        ("lost", 0, True),
        ("rate", None, False),
    ]


def test_a_run_that_breaks_off_is_a_report_that_says_why():
    def run(run):
        raise RuntimeError("nobody listens")

    traces = []
    report = carry_out(scenario(run), complain=traces.append)
    assert not report.ok
    assert report.checks[0].measured == "RuntimeError: nobody listens"
    assert "nobody listens" in traces[0]


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_the_directory_of_a_run_does_not_outlive_it(error):
    directories = []

    def run(run):
        directories.append(run.directory)
        (run.directory / "data").mkdir()
        if error is not None:
            raise error
        return []

    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            carry_out(scenario(run))
    else:
        carry_out(scenario(run))
    assert not directories[0].exists()


@pytest.mark.parametrize(
    ("default", "chosen", "given"), [(60.0, None, 60.0), (60.0, 5.0, 5.0), (None, None, 0.0)]
)
def test_the_duration_is_the_chosen_one_or_the_scenarios(default, chosen, given):
    runs = []
    carry_out(scenario(lambda run: runs.append(run) or [], duration=default), duration=chosen)
    assert runs[0].duration == given


def test_a_report_of_nothing_is_ok():
    assert Report("empty", ()).ok


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([], 99, None), ([7.0], 99, 7.0), (list(range(1, 101)), 50, 51), (list(range(100)), 99, 99)],
)
def test_percentile(values, percent, expected):
    assert percentile(values, percent) == expected
