"""docs/routing.md tells of everything that a timeline or a setting can say."""

from pathlib import Path

import pytest

from domain.routing.choice import Why
from domain.routing.routes import Route
from domain.routing.rules import RoutingRules
from domain.routing.strategies import STRATEGIES

PAGE = (Path(__file__).parents[3] / "docs" / "routing.md").read_text()
WORDS = [
    *(why.value for why in Why),
    *(field for field in Route.__struct_fields__ if field not in ("name", "note")),
    *RoutingRules.__struct_fields__,
    *STRATEGIES,
]


@pytest.mark.parametrize("word", WORDS)
def test_it_is_told(word):
    assert f"`{word}`" in PAGE
