import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from infra.cli import doctor
from infra.cli.doctor import Verdict
from infra.local.ports import Ports
from infra.local.running import Running
from infra.settings import Callbacks, Settings
from tests.sockets import listening
from tests.waiting import until

STAND_IN = Path(__file__).parents[1] / "local" / "stand_in.py"


@pytest.mark.parametrize(
    ("version", "verdict"), [((3, 10, 9), "fail"), ((3, 11, 0), "ok"), ((3, 14, 1), "ok")]
)
def test_python(version, verdict):
    assert doctor.check_python(version).verdict == Verdict(verdict)


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("v18.0.0\n", "ok"),
        ("v22.1.3\n", "ok"),
        ("v16.2.1\n", "warn"),
        (None, "warn"),
        ("?", "warn"),
    ],
)
def test_node(said, verdict):
    finding = doctor.check_node(said)
    assert finding.verdict == Verdict(verdict)
    assert bool(finding.advice) == (verdict != "ok")


def checkout(directory, pinned, installed):
    name = "@restatedev/restate"
    (directory / "package.json").write_text(json.dumps({"dependencies": {name: pinned}}))
    if installed:
        package = directory / "node_modules" / name
        package.mkdir(parents=True)
        (package / "package.json").write_text(json.dumps({"version": installed}))
    return directory


@pytest.mark.parametrize(
    ("installed", "verdict"), [("1.7.12", "ok"), ("1.7.11", "fail"), (None, "fail")]
)
def test_npm_packages_are_compared_with_what_is_pinned(tmp_path, installed, verdict):
    finding = doctor.check_package(checkout(tmp_path, "1.7.12", installed), "restate")
    assert finding.verdict == Verdict(verdict)
    if verdict == "fail":
        assert "1.7.12" in finding.found
        assert finding.advice == "make setup"


def test_a_missing_server_binary_is_a_failure(tmp_path):
    finding = doctor.check_server_binary(tmp_path)
    assert (finding.verdict, finding.advice) == (Verdict.FAIL, "make setup")


def test_free_ports_are_ok():
    (finding,) = doctor.check_ports(Ports.free(), None)
    assert (finding.verdict, finding.found) == (Verdict.OK, "all free")


def test_a_strangers_port_is_named_with_its_holder():
    ports = Ports.free()
    with listening(ports.pool):
        (finding,) = doctor.check_ports(ports, None)
    assert finding.verdict is Verdict.FAIL
    assert finding.check == f"port {ports.pool}"
    assert str(os.getpid()) in finding.found
    assert "--port pool=" in finding.advice


def test_ports_that_our_stack_holds_are_ok():
    ports = Ports.free()
    with listening(ports.pool):
        running = Running(os.getppid(), ports, frozenset({os.getpid()}))
        (finding,) = doctor.check_ports(ports, running)
    assert (finding.verdict, finding.found) == (
        Verdict.OK,
        f"1 of {len(list(ports))} held by our stack",
    )


def test_a_component_that_does_not_answer_is_a_failure_with_its_log():
    api = f"http://127.0.0.1:{Ports.free().api}"
    finding = doctor.check_http("api", api, "/readyz", Path("data/logs"))
    assert finding.verdict is Verdict.FAIL
    assert "data/logs/api.log" in finding.advice


@pytest.mark.parametrize(
    ("registered", "verdict"), [(("endpoint", "pool"), "ok"), (("endpoint",), "fail")]
)
def test_both_deployments_must_be_registered(monkeypatch, registered, verdict):
    ports = Ports()
    uris = [f"http://127.0.0.1:{getattr(ports, name)}/" for name in registered]
    body = json.dumps({"deployments": [{"id": "dp_1", "uri": uri} for uri in uris]})
    monkeypatch.setattr(doctor, "_get", lambda url: (200, body))
    finding = doctor.check_deployments(ports)
    assert finding.verdict == Verdict(verdict)
    if verdict == "fail":
        assert "pool" in finding.found


def test_both_must_be_registered_under_whatever_address(monkeypatch):
    served = {"endpoint": ["Message", "EmailDelivery"], "pool": ["SmsDelivery"]}
    for registered, verdict in ((("endpoint", "pool"), "ok"), (("endpoint",), "fail")):
        deployments = [
            {
                "uri": f"http://{name}.internal/",
                "services": [{"name": service} for service in served[name]],
            }
            for name in registered
        ]
        body = json.dumps({"deployments": deployments})
        monkeypatch.setattr(doctor, "_get", lambda url, body=body: (200, body))
        finding = doctor.check_services("http://restate.internal:9070")
        assert finding.verdict == Verdict(verdict)
    assert finding.found == "not registered: pool"
    monkeypatch.setattr(doctor, "_get", lambda url: (0, "refused"))
    assert "refused" in doctor.check_services("http://restate.internal:9070").found


def test_keys(tmp_path):
    assert doctor.check_keys(tmp_path).verdict is Verdict.WARN
    keys = tmp_path / "demo-keys.json"
    keys.write_text("[1]")
    assert doctor.check_keys(tmp_path).verdict is Verdict.FAIL
    keys.write_text('{"acme": "a", "globex": "b"}')
    keys.chmod(0o644)
    assert "chmod 600" in doctor.check_keys(tmp_path).advice
    keys.chmod(0o600)
    assert doctor.check_keys(tmp_path).verdict is Verdict.OK


def test_no_stack_runs_where_no_lock_is_held(tmp_path):
    assert doctor.find_running(tmp_path) is None
    (tmp_path / "stack.lock").write_text("1")
    assert doctor.find_running(tmp_path) is None


def test_a_running_stack_is_found_by_its_lock(tmp_path):
    from infra.local.stack import Stack

    stack = Stack(data_dir=tmp_path, ports=Ports.free(), components=())
    stack.start()
    stack._write_state()
    running = doctor.find_running(tmp_path)
    stack.stop()
    assert running == Running(os.getpid(), stack.ports, frozenset())
    assert doctor.find_running(tmp_path) is None


def test_wrong_settings_end_the_examination_with_their_name(in_empty_directory, run):
    (in_empty_directory / "hermes.toml").write_text("nonsense = 1\n")
    result = run("doctor", "--json")
    assert result.exit_code == 1
    last = json.loads(result.output)[-1]
    assert (last["check"], last["verdict"]) == ("settings", "fail")
    assert "nonsense" in last["found"]


@pytest.fixture
def one_by_one(in_empty_directory, monkeypatch):
    """Starts stand-ins of our processes here, without `hermes up`; gives their ports."""
    ports = Ports.free()
    monkeypatch.setenv("HERMES_API__PORT", str(ports.api))
    monkeypatch.setenv("HERMES_ENDPOINT__PORT", str(ports.endpoint))
    monkeypatch.setenv("HERMES_POOL__PORT", str(ports.pool))
    monkeypatch.setenv("HERMES_EMAIL__PORT", str(ports.mail))
    monkeypatch.setenv("HERMES_RESTATE__INGRESS", f"http://127.0.0.1:{ports.ingress}")
    monkeypatch.setenv("HERMES_RESTATE__ADMIN", f"http://127.0.0.1:{ports.admin}")
    processes = []

    def start(*names):
        for name in names:
            port = getattr(ports, name)
            command = [sys.executable, str(STAND_IN), str(port), f"infra.processes.{name}"]
            processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
            until(lambda port=port: doctor.in_use(port))
        return ports

    yield start
    for process in processes:
        process.kill()
        process.wait()


def report(run):
    return {finding["check"]: finding for finding in json.loads(run("doctor", "--json").output)}


def test_processes_that_were_started_one_by_one_are_looked_at(one_by_one, run):
    ports = one_by_one("api", "endpoint", "pool")
    with listening(ports.mail):
        found = report(run)
    assert (found["stack"]["verdict"], found["ports"]["verdict"]) == ("ok", "ok")
    assert found["api"]["verdict"] == "ok"
    assert {"restate", "deployments", "carriers"} <= set(found)
    assert not any(name.startswith("port ") for name in found)
    assert "demo keys" not in found


def test_a_process_of_ours_that_is_not_there_is_named(one_by_one, run):
    ports = one_by_one("api", "pool")
    found = report(run)
    assert found["stack"]["verdict"] == "warn"
    assert "infra.processes.endpoint" in found["stack"]["advice"]
    with listening(ports.endpoint):
        taken = report(run)[f"port {ports.endpoint}"]
    assert taken["verdict"] == "fail"
    assert str(os.getpid()) in taken["found"]


def test_a_secret_that_this_shell_has_not_ends_nothing(one_by_one, in_empty_directory, run):
    (in_empty_directory / "hermes.toml").write_text(
        '[admin]\nkey = "env:HERMES_NOT_SET"\n[email]\npassword = "env:HERMES_NOT_SET"\n'
    )
    alone = report(run)
    assert alone["settings"]["verdict"] == "fail"
    assert "email.password: environment variable HERMES_NOT_SET" in alone["settings"]["found"]
    assert "ports" in alone
    one_by_one("api", "pool")
    beside = report(run)
    assert beside["settings"]["verdict"] == "warn"
    assert beside["api"]["verdict"] == "ok"
    assert "HERMES_NOT_SET is not set" in beside["carriers"]["found"]


def test_a_file_that_is_no_toml_is_one_line(in_empty_directory, run):
    (in_empty_directory / "hermes.toml").write_text("[api\n")
    result = run("doctor")
    assert result.exit_code == 1
    [line] = [line for line in result.output.splitlines() if "settings" in line]
    assert line.startswith("✗ fail settings")
    assert "hermes.toml is no TOML" in line
    assert "line 1" in line


@pytest.mark.parametrize(
    ("public_url", "development", "verdict", "refused"),
    [
        ("https://hermes.example", False, "ok", False),
        ("http://hermes.example", False, "warn", True),
        (None, False, "warn", True),
        (None, True, "warn", False),
    ],
)
def test_unsubscribe_links_that_lead_nowhere(
    in_empty_directory, public_url, development, verdict, refused
):
    callbacks = Callbacks(allow_private_addresses=development)
    finding = doctor.check_unsubscribing(Settings(public_url=public_url, callbacks=callbacks))
    assert finding.verdict == verdict
    assert ("marketing by e-mail is refused" in finding.found) is refused


def test_unsubscribe_links_lead_to_the_stack_that_runs(in_empty_directory):
    ports = Ports.of(Settings())
    running = Running(pid=1, ports=replace(ports, api=18_000), pids=frozenset())
    assert ":18000," in doctor.check_unsubscribing(Settings(), running).found
    public = Settings(public_url="http://hermes.example")
    assert "http://hermes.example," in doctor.check_unsubscribing(public, running).found


def test_the_report_is_a_line_a_finding_with_advice_below(capsys):
    doctor.show(
        [
            doctor.Finding("python", Verdict.OK, "3.12.1"),
            doctor.Finding("stack", Verdict.WARN, "is not running", "hermes up"),
        ]
    )
    assert capsys.readouterr().out.splitlines() == [
        "✓ ok   python         3.12.1",
        "! warn stack          is not running",
        "                      → hermes up",
    ]
