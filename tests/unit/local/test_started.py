"""Processes of ours that were started one by one are told from everybody else's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.ports import Ports, in_use
from infra.local.started import find_started
from tests.waiting import until

STAND_IN = Path(__file__).with_name("stand_in.py")


@pytest.fixture
def ports():
    return Ports.free()


@pytest.fixture
def start(ports, tmp_path):
    """Starts a program that holds a port, called as one of ours is."""
    processes = []

    def start(name, *called, program=sys.executable, directory=tmp_path, **environment):
        port = getattr(ports, name)
        process = subprocess.Popen(
            [program, str(STAND_IN), str(port), *called],
            cwd=directory,
            env={k: v for k, v in os.environ.items() if not k.startswith("HERMES_")} | environment,
            stdout=subprocess.DEVNULL,
        )
        processes.append(process)
        until(lambda: in_use(port))

    yield start
    for process in processes:
        process.kill()
        process.wait()


def names(ports, data_dir):
    found = find_started(ports, data_dir)
    return None if found is None else found.names


def test_nothing_runs(ports, tmp_path):
    assert names(ports, tmp_path / ".hermes") is None


def test_our_processes_and_their_server(ports, start, tmp_path):
    server = tmp_path / "restate-server"
    server.symlink_to(os.path.realpath(sys.executable))
    start("ingress", program=str(server))
    assert names(ports, tmp_path / ".hermes") is None
    start("api", "infra.processes.api")
    start("pool", "infra.processes.pool")
    assert names(ports, tmp_path / ".hermes") == {"api", "pool", "ingress"}


@pytest.mark.parametrize("called", [(), ("infra.processes.pool",), ("infra.simulators.smsc",)])
def test_another_program(ports, start, tmp_path, called):
    start("api", *called)
    assert names(ports, tmp_path / ".hermes") is None


@pytest.mark.parametrize(
    ("said", "environment", "data_dir"),
    [
        (None, {}, ".hermes"),
        ('data_dir = "kept"', {}, "kept"),
        ('data_dir = "kept"', {"HERMES_DATA_DIR": "there"}, "there"),
        ("no TOML", {}, ".hermes"),
    ],
)
def test_those_of_another_data_directory_are_not_ours(
    ports, start, tmp_path, said, environment, data_dir
):
    if said is not None:
        (tmp_path / "hermes.toml").write_text(said)
    start("api", "infra.processes.api", **environment)
    assert names(ports, tmp_path / data_dir) == {"api"}
    assert names(ports, tmp_path / "elsewhere") is None
