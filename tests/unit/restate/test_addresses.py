"""Where restate-server is: one address, or those of all nodes of a cluster."""

import pytest

from infra.local.ports import Ports
from infra.settings import ConfigurationError, load

ONE = "http://127.0.0.1:8080"
OTHER = "https://node-2.internal"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HERMES_CONFIG", raising=False)
    monkeypatch.delenv("HERMES_RESTATE__INGRESS", raising=False)


@pytest.fixture(params=["file", "environment"])
def say(request, tmp_path, monkeypatch):
    """Sets the key, as text that TOML and JSON both read."""

    def say(value):
        if request.param == "file":
            (tmp_path / "hermes.toml").write_text(f"restate.ingress = {value}\n")
        else:
            monkeypatch.setenv("HERMES_RESTATE__INGRESS", value.strip('"'))

    return say


@pytest.mark.parametrize(
    ("value", "ingresses"),
    [
        (f'"{OTHER}"', (OTHER,)),
        (f'["{ONE}"]', (ONE,)),
        (f'["{ONE}", "{OTHER}"]', (ONE, OTHER)),
    ],
)
def test_one_address_or_a_list(say, value, ingresses):
    say(value)
    assert load().restate.ingresses == ingresses


def test_no_address_at_all_is_a_mistake(say):
    say("[]")
    with pytest.raises(ConfigurationError, match="restate"):
        load()


def test_left_out_it_is_this_machine(say):
    assert load().restate.ingresses == (ONE,)


def test_the_local_stack_takes_the_first_ones_port(say):
    say('["http://127.0.0.1:18080", "http://127.0.0.1:28080"]')
    assert Ports.of(load()).ingress == 18080
