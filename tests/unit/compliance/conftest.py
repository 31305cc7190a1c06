"""The admin API of an API process: as for tenants."""

from tests.unit.tenants.conftest import world

__all__ = ["world"]
