from tests.unit.suppression.conftest import world

__all__ = ["world"]
