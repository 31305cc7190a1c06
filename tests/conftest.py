"""What every kind of test may use."""

import os
from pathlib import Path

import pytest

from tests import scratch
from tests.certificates import Authority
from tests.databases import journal_where, new_where, sqlite_made, where
from tests.postgres import postgres, postgres_schemas, postgres_server
from tests.side_by_side import (
    draw_ports_apart,
    pytest_collection_finish,
    pytest_collection_modifyitems,
    pytest_runtest_protocol,
    pytest_xdist_auto_num_workers,
    pytest_xdist_make_scheduler,
)

__all__ = [
    "journal_where",
    "new_where",
    "postgres",
    "postgres_schemas",
    "postgres_server",
    "pytest_collection_finish",
    "pytest_collection_modifyitems",
    "pytest_runtest_protocol",
    "pytest_xdist_auto_num_workers",
    "pytest_xdist_make_scheduler",
    "sqlite_made",
    "where",
]


def pytest_configure() -> None:
    """Before anything is drawn or written."""
    scratch.use_memory()
    draw_ports_apart()
    # What commands print has no terminal's width; pytest-xdist sets one.
    os.environ.pop("COLUMNS", None)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus: int) -> None:
    """What failed can be looked at until the next run."""
    if exitstatus == 0:
        scratch.forget()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """An authority for certificates, which nobody trusts but by its `file`."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def compiled(pytestconfig, tmp_path_factory) -> Path:
    """Where adapters are kept that were compiled to native code: seconds of CPU each, so it is the
    same place for every run of this checkout. A file's name says what it was made of."""
    if pytestconfig.pluginmanager.has_plugin("cacheprovider"):
        return Path(pytestconfig.cache.mkdir("adapters")) / "compiled"
    return tmp_path_factory.mktemp("adapters") / "compiled"


@pytest.fixture(scope="session")
def certificate(authority):
    """A server's certificate, by that authority, for 127.0.0.1 and no other name."""
    return authority.server("127.0.0.1")
