"""What an engine must have done with a message before its end counts."""

import pytest

from infra.bench.scenarios.temporal import untaken

PLAIN, FALLS_OVER = "Hermes, 1.5 s 000003: your code is 4711", "Hermes 000009: your code is 4711"


@pytest.mark.parametrize(
    ("text", "by_carrier", "by_mail", "held", "arrived"),
    [
        pytest.param(PLAIN, 1, 0, False, True, id="by SMS"),
        pytest.param(PLAIN, 0, 0, False, False, id="ended at once"),
        pytest.param(PLAIN, 0, 1, False, False, id="by mail, which is less work"),
        pytest.param(FALLS_OVER, 1, 1, False, True, id="by mail after the SMS"),
        pytest.param(FALLS_OVER, 1, 0, False, False, id="no mail after the SMS"),
        pytest.param(FALLS_OVER, 0, 1, False, False, id="no SMS before the mail"),
        pytest.param(PLAIN, 0, 1, True, True, id="the SMS died with its sender"),
        pytest.param(FALLS_OVER, 1, 0, True, True, id="the mail died with its sender"),
        pytest.param(PLAIN, 0, 0, True, False, id="nothing at all after the kill"),
    ],
)
def test_an_end_counts_when_somebody_got_something(text, by_carrier, by_mail, held, arrived):
    carrier, mail = ({text: times} if times else {} for times in (by_carrier, by_mail))
    found = untaken({text}, {text} if held else set(), carrier, mail)
    assert found == (set() if arrived else {text})
