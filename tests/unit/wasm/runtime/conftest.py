from pathlib import Path

import pytest

from adapters.wasm.runtime import Artifacts, Engine, link
from adapters.wasm.sdk.build import build
from tests.unit.wasm.puppet import SOURCE, Heard


@pytest.fixture(scope="session")
def engine():
    engine = Engine()
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def linker(engine):
    return link(engine)


@pytest.fixture(scope="session")
def component() -> Path:
    return build(SOURCE)


@pytest.fixture(scope="session")
def artifacts(engine, compiled):
    return Artifacts(compiled, engine)


@pytest.fixture(scope="session")
def program(artifacts, component):
    return artifacts.load(component)


@pytest.fixture
def sink():
    return Heard()
