import pytest

from tests.scenarios.driver import Driver

SMSC = ("--late-delay", "2.5", "--account", "second:second")
MAIL = ("--slow-delay", "2")


def pytest_collection_modifyitems(items):
    for item in items:
        if "scenarios" in item.path.parts:
            item.add_marker(pytest.mark.stack)


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory):
    """One stack for every scenario that leaves it healthy."""
    driver = Driver(tmp_path_factory.mktemp("stack"), smsc=SMSC, mail=MAIL)
    try:
        yield driver.start()
    finally:
        driver.close()


@pytest.fixture
def hermes(shared_stack):
    """The shared stack, its simulators' memory empty."""
    shared_stack.forget()
    return shared_stack


@pytest.fixture(scope="session")
def slow_stack(tmp_path_factory):
    """A stack whose carrier and relay take their time to answer, so that much is in flight."""
    driver = Driver(
        tmp_path_factory.mktemp("slow"),
        smsc=("--response-delay", "1.5"),
        mail=("--slow-delay", "1.5"),
    )
    try:
        yield driver.start()
    finally:
        driver.close()


@pytest.fixture
def slow_carrier(slow_stack):
    """The stack with the slow carrier, its simulators' memory empty."""
    slow_stack.forget()
    return slow_stack
