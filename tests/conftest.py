"""What every kind of test may use."""

import pytest

from tests.certificates import Authority
from tests.postgres import postgres, postgres_server, where

__all__ = ["postgres", "postgres_server", "where"]


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """An authority for certificates, which nobody trusts but by its `file`."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def certificate(authority):
    """A server's certificate, by that authority, for 127.0.0.1 and no other name."""
    return authority.server("127.0.0.1")
