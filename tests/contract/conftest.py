import pytest

from tests.scenarios.driver import Driver


def pytest_collection_modifyitems(items):
    for item in items:
        if "contract" in item.path.parts:
            item.add_marker(pytest.mark.stack)


@pytest.fixture(scope="module")
def hermes(tmp_path_factory):
    """A stack of its own: what is generated suspends tenants and revokes keys."""
    driver = Driver(tmp_path_factory.mktemp("contract"))
    try:
        yield driver.start()
    finally:
        driver.close()
