import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from infra.local.ports import Ports
from infra.local.stack import AlreadyRunning, ComponentFailed, PortsTaken, Stack, StackError
from tests.sockets import listening
from tests.waiting import until

STAND_IN = Path(__file__).with_name("stand_in.py")


def command(*ports, manners=()):
    return [sys.executable, str(STAND_IN), ",".join(map(str, ports)), *manners]


def commands(ports):
    return {
        "restate": command(ports.ingress, ports.admin),
        "smsc": command(ports.smsc, ports.smsc_control),
        "mail": command(ports.mail, ports.mail_control),
        "endpoint": command(ports.endpoint),
        "pool": command(ports.pool),
        "api": command(ports.api),
    }


@pytest.fixture
def make_stack(tmp_path):
    stacks = []

    def make(ports=None, data_dir=None, components=("restate", "endpoint"), **replaced):
        ports = ports or Ports.free()
        incidents = []
        stack = Stack(
            ports=ports,
            data_dir=data_dir or tmp_path / "data",
            components=components,
            commands=commands(ports) | replaced,
            on_incident=incidents.append,
        )
        stack.incidents = incidents
        stacks.append(stack)
        return stack

    yield make
    for stack in stacks:
        stack.stop()


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_starts_all_components_and_registers_both_handlers(make_stack):
    stack = make_stack(components=tuple(commands(Ports())))
    told = []
    stack.start(progress=told.append)
    assert set(stack.pids()) == {"restate", "smsc", "mail", "endpoint", "pool", "api"}
    assert told.index("deployments") > max(told.index(n) for n in ("restate", "endpoint", "pool"))
    assert "begun" in stack.log("pool").read_text()


def test_a_killed_component_is_started_again_and_told_about(make_stack):
    stack = make_stack()
    stack.start()
    before = stack.pid("endpoint")
    stack.kill("endpoint")
    stack.wait_ready("endpoint")
    assert stack.pid("endpoint") not in (before, None)
    assert [(i.name, i.how) for i in stack.incidents] == [("endpoint", "SIGKILL")]


def test_each_further_death_waits_longer_for_its_restart(make_stack):
    stack = make_stack()
    stack.start()
    for _ in range(3):
        stack.kill("endpoint")
        stack.wait_ready("endpoint")
    delays = [incident.restart_in for incident in stack.incidents]
    assert delays == sorted(delays)
    assert delays[-1] >= 4 * delays[0]


def test_workers_die_with_their_component(make_stack, tmp_path):
    ports = Ports.free()
    note = tmp_path / "worker"
    stack = make_stack(ports, endpoint=command(ports.endpoint, manners=[f"worker={note}"]))
    stack.start()
    worker = int(note.read_text())
    os.kill(stack.pid("endpoint"), signal.SIGKILL)  # the leader alone
    until(lambda: not alive(worker))


def test_stop_ends_a_component_that_does_not_listen_within_five_seconds(make_stack, tmp_path):
    ports = Ports.free()
    note = tmp_path / "worker"
    stack = make_stack(ports, endpoint=command(ports.endpoint, manners=["deaf", f"worker={note}"]))
    stack.start()
    pids = [*stack.pids().values(), int(note.read_text())]
    begun = time.monotonic()
    stack.stop()
    assert time.monotonic() - begun < 5
    assert not any(alive(pid) for pid in pids)
    assert stack.pids() == {}


def test_a_stopped_process_does_not_hold_up_the_stop(make_stack):
    stack = make_stack()
    stack.start()
    stack.kill("endpoint", signal.SIGSTOP)
    begun = time.monotonic()
    stack.stop()
    assert time.monotonic() - begun < 3


def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path):
    ports = Ports.free()
    worker = tmp_path / "worker"
    script = textwrap.dedent(f"""
        import signal
        from pathlib import Path
        from infra.local.ports import Ports
        from infra.local.stack import Stack
        stack = Stack(
            ports=Ports(**{dict(ports)}), data_dir=Path({str(tmp_path / "data")!r}),
            components=["restate", "endpoint"],
            commands={{
                "restate": {command(ports.ingress, ports.admin)},
                "endpoint": {command(ports.endpoint, manners=[f"worker={worker}"])},
            }},
        )
        stack.start()
        print(*stack.pids().values(), flush=True)
        signal.pause()
    """)
    supervisor = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        pids = [int(pid) for pid in supervisor.stdout.readline().split()]
        pids.append(int(worker.read_text()))
        assert len(pids) == 3
        assert all(alive(pid) for pid in pids)
    finally:
        supervisor.kill()
        supervisor.wait()
        supervisor.stdout.close()
    until(lambda: not any(alive(pid) for pid in pids))


def test_a_component_that_cannot_start_fails_the_start_with_what_it_said(make_stack):
    ports = Ports.free()
    stack = make_stack(ports, endpoint=command(ports.endpoint, manners=["dies"]))
    with pytest.raises(ComponentFailed, match=r"(?s)exit code 1.*cannot read my settings"):
        stack.start()


def test_a_program_that_is_missing_fails_the_start(make_stack):
    stack = make_stack(endpoint=["/nowhere/to/be/found"])
    with pytest.raises(ComponentFailed, match="endpoint ended"):
        stack.start()


def test_taken_ports_are_named_with_their_holders_and_nothing_is_started(make_stack):
    ports = Ports.free()
    with listening(ports.endpoint), listening(ports.admin):
        stack = make_stack(ports)
        with pytest.raises(PortsTaken) as caught:
            stack.start()
    assert set(caught.value.holders) == {"endpoint", "admin"}
    assert {holder.pid for holder in caught.value.holders.values()} == {os.getpid()}
    said = str(caught.value)
    for name, port in (("endpoint", ports.endpoint), ("admin", ports.admin)):
        assert f"port {port} ({name}) is in use by process {os.getpid()}" in said
        assert f"--port {name}=NUMBER" in said
    assert stack.pids() == {}


@pytest.mark.parametrize("content", ["api = [", None])
def test_settings_that_cannot_be_read_are_named_and_nothing_is_started(tmp_path, content):
    config = tmp_path / "hermes.toml"
    if content is not None:
        config.write_text(content)
    stack = Stack(ports=Ports.free(), data_dir=tmp_path / "data", config=config)
    with pytest.raises(StackError, match=r"hermes\.toml cannot be read"):
        stack.start()
    assert stack.pids() == {}
    stack.stop()


def test_nothing_is_started_without_the_databases_secret(tmp_path, monkeypatch):
    monkeypatch.delenv("HERMES_DATABASE_URL", raising=False)
    config = tmp_path / "hermes.toml"
    config.write_text('database_url = "env:HERMES_NOT_SET"\n')
    stack = Stack(ports=Ports.free(), data_dir=tmp_path / "data", config=config)
    with pytest.raises(StackError, match="database_url: environment variable HERMES_NOT_SET"):
        stack.start()
    assert stack.pids() == {}
    stack.stop()


def test_ports_of_components_that_are_left_out_may_be_taken(make_stack):
    ports = Ports.free()
    with listening(ports.mail):
        make_stack(ports).start()


def test_two_stacks_do_not_share_a_data_directory(make_stack):
    make_stack().start()
    with pytest.raises(AlreadyRunning, match=str(os.getpid())):
        make_stack().start()


def test_a_data_directory_can_be_used_again_after_a_stop(make_stack):
    ports = Ports.free()
    for _ in range(2):
        stack = make_stack(ports)
        stack.start()
        stack.stop()


def test_the_simulators_port_reaches_the_pool_with_the_other_carriers_unchanged(
    make_stack, tmp_path
):
    config = tmp_path / "hermes.toml"
    config.write_text(
        '[[carriers]]\nname = "simulator"\nhosts = ["127.0.0.1:2775"]\nwindow = 7\n'
        '[[carriers]]\nname = "real"\nhosts = ["127.0.0.1:1234"]\n'
    )
    ports = Ports.free()
    shown = tmp_path / "shown"
    script = f"import os; open({str(shown)!r}, 'w').write(os.environ['HERMES_CARRIERS'])"
    stack = Stack(
        ports=ports,
        data_dir=tmp_path / "data",
        config=config,
        components=["endpoint"],
        commands={"endpoint": [sys.executable, "-c", script]},
    )
    with pytest.raises(ComponentFailed):
        stack.start()
    stack.stop()
    assert f'"hosts": ["127.0.0.1:{ports.smsc}"], "window": 7' in shown.read_text()
    assert '{"name": "real", "hosts": ["127.0.0.1:1234"]}' in shown.read_text()
