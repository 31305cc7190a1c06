import json
import os
import signal
from dataclasses import replace

import pytest
from click.testing import CliRunner

from infra.bench import catalogue, scenario, throughput
from infra.bench.document import BEGIN, END, SCENARIO_BEGIN, SCENARIO_END
from infra.bench.load import Sent
from infra.bench.scenario import FIGURES, Scenario, exactly
from infra.cli.bench import bench

LOST = exactly("lost", 0)


@pytest.fixture
def runs():
    return []


@pytest.fixture
def invoke(runs, monkeypatch, tmp_path):
    """Runs the command with one scenario, which loses as many messages as its duration says."""

    def run(run):
        runs.append(run)
        run.progress("losing", 1, 2)
        run.report.mkdir(parents=True)
        (run.report / FIGURES).write_text(f"It lost {run.duration:.0f}.\n")
        if run.duration > 100:
            os.kill(os.getpid(), signal.SIGTERM)
        return [LOST.check(int(run.duration))]

    made_up = {
        "lossy": Scenario("lossy", "Messages are lost.", (LOST,), run, duration=0.0),
        "counting": Scenario("counting", "Messages are counted.", (LOST,), run),
        "told": Scenario("told", "And a document.", (LOST,), run, duration=0.0, documented=True),
    }
    monkeypatch.setattr(catalogue, "SCENARIOS", made_up)
    monkeypatch.setattr(scenario, "ROOT", tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    yield lambda *arguments: CliRunner().invoke(bench, arguments)
    signal.signal(signal.SIGTERM, before)


def test_the_list_names_every_scenario_with_its_bars(invoke):
    listed = invoke("--list")
    assert listed.exit_code == 0
    assert "lossy  Messages are lost." in listed.output
    assert "lost = 0" in listed.output
    as_json = json.loads(invoke("--list", "--json").stdout)
    assert as_json[0] == {
        "scenario": "lossy",
        "summary": "Messages are lost.",
        "bars": {"lost": "= 0"},
    }


@pytest.mark.parametrize(("duration", "code"), [("0", 0), ("2", 1)])
def test_json_is_all_that_is_printed_and_the_exit_code_says_the_same(invoke, duration, code):
    result = invoke("--scenario", "lossy", "--json", "--duration", duration)
    assert result.exit_code == code
    assert json.loads(result.stdout) == {
        "scenario": "lossy",
        "ok": code == 0,
        "checks": [{"name": "lost", "measured": int(duration), "bar": "= 0", "ok": code == 0}],
    }


def test_a_person_gets_a_table(invoke):
    result = invoke("--scenario", "lossy", "--duration", "12")
    assert "✗" in result.output
    assert "lost" in result.output
    assert "12" in result.output


def test_the_seed_reaches_the_scenario(invoke, runs):
    invoke("--scenario", "lossy", "--seed", "7")
    invoke("--scenario", "lossy")
    assert [run.seed for run in runs] == [7, 1]


def test_the_report_can_go_to_a_file_too(invoke, tmp_path):
    file = tmp_path / "report.json"
    invoke("--scenario", "lossy", "--output", str(file))
    assert json.loads(file.read_text())["ok"] is True


def test_a_scenarios_figures_go_into_the_document(invoke, tmp_path):
    document = tmp_path / "document.md"
    begin, end = SCENARIO_BEGIN.format("told", "told"), SCENARIO_END.format("told")
    document.write_text(f"{begin}\n{end}\n")
    invoke("--scenario", "told", "--duration", "0", "--document", str(document))
    assert document.read_text() == f"{begin}\n\nIt lost 0.\n\n{end}\n"


def test_a_scenario_that_missed_a_bar_leaves_the_document_as_it_is(invoke, tmp_path):
    document = tmp_path / "document.md"
    document.write_text(was := f"{SCENARIO_BEGIN.format('told', 'told')}\n")
    result = invoke("--scenario", "told", "--duration", "3", "--document", str(document))
    assert result.exit_code == 1
    assert "keeps its figures: a bar was missed" in " ".join(result.output.split())
    assert document.read_text() == was


@pytest.fixture
def measured(monkeypatch):
    """Stands in for the load: what `hermes bench` is to have measured, one message of two lost."""

    def run(*, rate, duration, progress):
        sent = Sent({"a": 1.0, "b": 1.0}, {"a": "A", "b": "B"})
        nothing = dict.fromkeys(throughput.PRODUCT, 0.0)
        lossy = throughput.reckoned(rate, duration, 1.0, sent, [], 0, nothing, nothing)
        delivered = 2 if duration == 1 else 1
        return replace(lossy, delivered=delivered, written_kb_per_message=nothing)

    monkeypatch.setattr("infra.cli.bench.run", run)


@pytest.mark.parametrize(("duration", "clean"), [("1", True), ("2", False)])
def test_only_a_clean_run_is_documented(invoke, measured, tmp_path, duration, clean):
    document, output = tmp_path / "document.md", tmp_path / "latest.json"
    document.write_text(was := f"{BEGIN}\n{END}\n")
    result = invoke("--duration", duration, "--document", str(document), "--output", str(output))
    assert result.exit_code == (0 if clean else 1)
    assert (document.read_text() != was) == clean
    assert ("keeps its figures" in " ".join(result.output.split())) != clean
    assert "not measured" in result.output


def test_sigterm_ends_a_run_like_ctrl_c_and_leaves_nothing_behind(invoke, runs):
    result = invoke("--scenario", "lossy", "--duration", "101")
    assert result.exit_code == 1
    assert "Aborted" in result.output
    assert not runs[0].directory.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--scenario", "nope"), "there are lossy, counting, told"),
        (("--scenario", "lossy", "--rate", "5"), "--rate"),
        (("--scenario", "counting", "--duration", "5"), "counts messages"),
        (("--seed", "5"), "--scenario"),
        (("--scenario", "lossy", "--document", __file__), "no document has figures of lossy"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(invoke, runs, arguments, said):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert runs == []
