import pytest

from infra.bench import document as marks
from infra.bench.document import SCENARIO_BEGIN, SCENARIO_END, rewrite, rewrite_scenario, table
from infra.bench.load import Sent
from infra.bench.throughput import PRODUCT, reckoned

BEGIN, END = SCENARIO_BEGIN.format("growth", "growth"), SCENARIO_END.format("growth")
OTHER = SCENARIO_BEGIN.format("else", "else"), SCENARIO_END.format("else")


@pytest.fixture
def document(tmp_path):
    def write(*lines):
        path = tmp_path / "document.md"
        path.write_text("\n".join(lines))
        return path

    return write


def test_a_scenarios_figures_take_the_place_of_its_last_ones(document):
    path = document("before", OTHER[0], "its", OTHER[1], BEGIN, "old", END, "after")
    rewrite_scenario(path, "growth", "new\n")
    rewrite_scenario(path, "growth", "newer\n")
    assert path.read_text() == "\n".join(
        ("before", OTHER[0], "its", OTHER[1], BEGIN, "", "newer", "", END, "after")
    )


@pytest.mark.parametrize("lines", [(), (BEGIN,), (END, BEGIN), OTHER])
def test_a_document_without_a_place_for_them_stays_as_it_is(document, lines):
    path = document("before", *lines)
    was = path.read_text()
    with pytest.raises(ValueError, match="no place for figures"):
        rewrite_scenario(path, "growth", "new")
    assert path.read_text() == was


def test_a_table_as_markdown_has_it():
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


def test_what_was_refused_stands_beside_what_was_offered_and_nothing_took_no_time(document):
    sent = Sent({"a": 1.0}, {"a": "A"}, {"429": 2, "503": 1})
    nothing = dict.fromkeys(PRODUCT, 0.0)
    result = reckoned(100.0, 10.0, 10.0, sent, [], 0, nothing, nothing)
    assert not result.clean
    path = document(marks.BEGIN, marks.END)
    rewrite(path, result)
    text = path.read_text()
    assert "| offered | accepted | refused | delivered |" in text
    assert "\n| 4 | 1 | 3 | 0 |" in text
    assert "| request to receipt | not measured | not measured |" in text
    assert "0 ms" not in text.replace("200 ms", "")
