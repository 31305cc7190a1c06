"""`hermes up` in a terminal of its own: it starts everything, and takes everything with it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from infra.local.ports import Ports, in_use
from infra.local.stack import COMPONENTS, ROOT
from tests.waiting import until

HERMES = Path(sys.executable).with_name("hermes")


class Terminal:
    """One `hermes up` after the other, in one data directory."""

    def __init__(self, directory):
        self.data_dir = directory / "data"
        self.ports = Ports.free()
        self.output = directory / "output"
        self.process = None

    def up(self, *options):
        ports = [f"--port={name}={number}" for name, number in self.ports]
        self.process = subprocess.Popen(
            [str(HERMES), "up", *options, "--data-dir", str(self.data_dir), *ports],
            cwd=ROOT,
            stdout=self.output.open("w"),
            stderr=subprocess.STDOUT,
            env={key: value for key, value in os.environ.items() if not key.startswith("HERMES_")},
        )
        return self

    def wait_ready(self):
        """Seconds until the API takes messages and every component is there."""
        began = time.monotonic()
        until(lambda: self.exited or self.ready, within=60)
        assert self.ready, self.output.read_text()
        return time.monotonic() - began

    @property
    def ready(self):
        return "Ctrl-C" in self.output.read_text()

    @property
    def exited(self):
        return self.process.poll() is not None

    def family(self):
        """Everything that runs on behalf of it."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        components = json.loads((self.data_dir / "stack.json").read_text())["components"]
        assert set(components) == set(COMPONENTS)
        assert set(components.values()) <= {child.pid for child in children}
        return children

    def end(self, number):
        """Seconds from the signal until nothing of it is left."""
        family = self.family()
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=10)
        until(lambda: not any(map(alive, family)), within=10)
        until(lambda: not any(in_use(port) for _, port in self.ports))
        return time.monotonic() - began

    def api(self, method, path, **more):
        keys = json.loads((self.data_dir / "demo-keys.json").read_text())
        answer = httpx.request(
            method,
            f"http://127.0.0.1:{self.ports.api}{path}",
            headers={"authorization": f"Bearer {keys['acme']}"},
            **more,
        )
        return answer.raise_for_status().json()


def alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def terminal(tmp_path):
    terminal = Terminal(tmp_path)
    yield terminal
    if terminal.process is not None and not terminal.exited:
        terminal.process.terminate()
        terminal.process.wait(timeout=10)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ends_within_five_seconds_and_leaves_no_orphan(terminal, number):
    terminal.up("--no-demo").wait_ready()
    assert terminal.end(number) < 5


@pytest.mark.alone
def test_second_start_takes_seconds_and_keeps_the_data(terminal):
    terminal.up("--no-demo").wait_ready()
    order = {"to": {"email": "anna@example.com"}, "content": {"text": "Hi Anna"}}
    sent = terminal.api("POST", "/v1/messages", json=order)["id"]
    waiting = {"to": {"sms": "+4520109902"}, "content": {"text": "Hi"}, "ttl": 600}
    kept = terminal.api("POST", "/v1/messages", json=waiting)["id"]
    until(lambda: terminal.api("GET", f"/v1/messages/{sent}")["status"] == "sent")
    until(
        lambda: terminal.api("GET", f"/v1/messages/{kept}")["timeline"][-1]["event"] == "submitted"
    )
    keys = (terminal.data_dir / "demo-keys.json").read_text()
    terminal.end(signal.SIGINT)

    assert terminal.up("--no-demo").wait_ready() < 10
    assert (terminal.data_dir / "demo-keys.json").read_text() == keys
    assert terminal.api("GET", f"/v1/messages/{sent}")["status"] == "sent"
    message = terminal.api("GET", f"/v1/messages/{kept}")
    assert message["status"] == "processing"
    happened = [entry["event"] for entry in message["timeline"] if entry["event"] != "verdict"]
    assert happened == ["accepted", "step", "submitted"]
    terminal.end(signal.SIGINT)


def test_demonstration_shows_the_fallback_and_exits(terminal):
    process = terminal.up("--demo=exit").process
    assert process.wait(timeout=60) == 0, terminal.output.read_text()
    shown = terminal.output.read_text()
    for word in ("sms", "timeout", "email", "sent", "The mail sink has it"):
        assert word in shown.replace("\n", " "), shown
    assert not any(in_use(port) for _, port in terminal.ports)
