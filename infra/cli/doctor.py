"""`hermes doctor`: is everything here that Hermes needs, and if not, what to do."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import psutil
from rich.text import Text

from infra import settings as configuration
from infra.cli.client import ApiError
from infra.cli.console import as_json, console, print_json
from infra.cli.operator import PoolClient
from infra.local.demo_keys import DEMO_TENANTS, key_file, read_demo_keys
from infra.local.ports import HOST, Ports, holder, in_use
from infra.local.running import Running, find_running
from infra.local.stack import ROOT, StackError, restate_server
from infra.local.started import FRONT, Started, find_started
from infra.operator_key import known_operator_key

_OLDEST_PYTHON = (3, 11)
_OLDEST_NODE = 18
_PACKAGES = ("restate-server", "restate", "restatectl")
_LITTLE_SPACE = 2 * 1024**3
_NO_SPACE = 200 * 1024**2
_SERVED = {"endpoint": "Message", "pool": "SmsDelivery"}
"""A service of each process that serves some."""


class Verdict(str, Enum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"  # works, or will once `hermes up` runs
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report; `advice` says what to do when it is not ok."""

    check: str
    verdict: Verdict
    found: str
    advice: str = ""


@click.command()
@as_json
def doctor(json_output: bool) -> None:
    """Check versions, ports, server and registration; say what to do.

    Exit code 1 when something is wrong; a warning is not.
    """
    findings = list(examine())
    if json_output:
        print_json([asdict(finding) for finding in findings])
    else:
        show(findings)
    if any(finding.verdict is Verdict.FAIL for finding in findings):
        sys.exit(1)


def show(findings: Iterable[Finding]) -> None:
    """Print the report."""
    out = console()
    marks = {
        Verdict.OK: ("✓", "good"),
        Verdict.WARN: ("!", "warn"),
        Verdict.FAIL: ("✗", "bad"),
    }
    for finding in findings:
        mark, style = marks[finding.verdict]
        line = Text.assemble(
            (f"{mark} {finding.verdict.value:<5}", style), f"{finding.check:<15}", finding.found
        )
        out.print(line, soft_wrap=True)
        if finding.advice and finding.verdict is not Verdict.OK:
            out.print(Text(f"{'':22}→ {finding.advice}", style=style), soft_wrap=True)


def examine(root: Path = ROOT) -> Iterator[Finding]:
    """Look at everything, in the order in which a fault explains the ones after it."""
    yield check_python(sys.version_info[:3])
    yield check_node(_output(["node", "--version"]))
    for package in _PACKAGES:
        yield check_package(root, package)
    yield check_server_binary(root)
    settings, wrong = _settings()
    if settings is None:
        yield wrong
        return
    running = find_running(settings.data_dir)
    started = None if running else find_started(Ports.of(settings), settings.data_dir)
    yield _softened(wrong) if running or started else wrong
    yield check_space(settings.data_dir)
    yield check_unsubscribing(settings, running)
    if running:
        yield Finding("stack", Verdict.OK, f"hermes up runs as process {running.pid}")
        yield from check_ports(running.ports, running)
        yield from _check_stack(running.ports, settings)
    elif started:
        yield check_started(started)
        yield from check_front(started)
        yield from _check_processes(started, settings)
    else:
        yield Finding("stack", Verdict.WARN, "is not running", "hermes up (or make run)")
        yield from check_ports(Ports.of(settings), None)
    if not started:
        yield check_keys(settings.data_dir)


def _settings() -> tuple[configuration.Settings | None, Finding]:
    """The settings, None when they are wrong, and how they are."""
    advice = "mend hermes.toml or the HERMES_… variables"
    try:
        found = "hermes.toml and the environment are sound"
        return configuration.load(), Finding("settings", Verdict.OK, found)
    except configuration.ConfigurationError as error:
        wrong = Finding("settings", Verdict.FAIL, "; ".join(str(error).splitlines()), advice)
    try:
        # Without the secrets that this shell does not have there is still much to look at.
        settings = configuration.load_for_command(configuration.ConfigurationError)
    except configuration.ConfigurationError:
        return None, wrong
    return settings, wrong


def _softened(finding: Finding) -> Finding:
    """What is wrong in this shell does not trouble processes that run."""
    if finding.verdict is Verdict.OK:
        return finding
    advice = "what runs has it; a process that this shell starts would not"
    return replace(finding, verdict=Verdict.WARN, advice=advice)


def _check_stack(ports: Ports, settings: configuration.Settings) -> Iterator[Finding]:
    logs = settings.data_dir / "logs"
    yield check_http("restate", f"http://{HOST}:{ports.ingress}", "/restate/health", logs)
    yield check_deployments(ports)
    yield check_http("api", f"http://{HOST}:{ports.api}", "/readyz", logs)
    yield _check_carriers_at(f"http://{HOST}:{ports.pool}", settings, logs)


def _check_processes(started: Started, settings: configuration.Settings) -> Iterator[Finding]:
    """Of what was started one by one, each part where the settings say that it is."""
    for ingress in settings.restate.ingresses:
        yield check_http("restate", ingress, "/restate/health")
    yield check_services(settings.restate.admin)
    if "api" in started.names:
        yield check_http("api", f"http://{HOST}:{started.ports.api}", "/readyz")
    for pool in settings.pool_urls:
        yield _check_carriers_at(pool, settings)


def _check_carriers_at(
    pool: str, settings: configuration.Settings, logs: Path | None = None
) -> Finding:
    try:
        key = known_operator_key(settings) or ""
    except configuration.ConfigurationError as error:
        return Finding("carriers", Verdict.WARN, f"not looked at: {error}", "set it in this shell")
    return check_carriers(pool, key, logs)


def check_python(version: tuple[int, ...]) -> Finding:
    """Python is new enough."""
    found = ".".join(map(str, version))
    if version < _OLDEST_PYTHON:
        return Finding("python", Verdict.FAIL, found, "install Python 3.11 or newer; make clean")
    return Finding("python", Verdict.OK, found)


def check_node(said: str | None) -> Finding:
    """Node is there and new enough; `said` is what `node --version` printed."""
    if said is None:
        return Finding(
            "node", Verdict.WARN, "not found", "needed by `make setup` alone: install Node.js 18"
        )
    try:
        major = int(said.strip().removeprefix("v").split(".")[0])
    except ValueError:
        return Finding("node", Verdict.WARN, f"says {said.strip()!r}", "install Node.js 18")
    if major < _OLDEST_NODE:
        return Finding("node", Verdict.WARN, said.strip(), "install Node.js 18 or newer")
    return Finding("node", Verdict.OK, said.strip())


def check_package(root: Path, package: str) -> Finding:
    """An npm package is installed in the version that package.json pins."""
    name = f"@restatedev/{package}"
    try:
        pinned = json.loads((root / "package.json").read_text())["dependencies"][name]
    except (OSError, ValueError, KeyError):
        return Finding(package, Verdict.FAIL, "package.json does not pin it", "git checkout it")
    try:
        manifest = root / "node_modules" / name / "package.json"
        installed = json.loads(manifest.read_text())["version"]
    except (OSError, ValueError, KeyError):
        return Finding(package, Verdict.FAIL, f"not installed (wanted: {pinned})", "make setup")
    if installed != pinned:
        return Finding(package, Verdict.FAIL, f"{installed} (wanted: {pinned})", "make setup")
    return Finding(package, Verdict.OK, installed)


def check_server_binary(root: Path) -> Finding:
    """restate-server runs on this machine."""
    try:
        binary = restate_server(root)
    except StackError as error:
        return Finding("server binary", Verdict.FAIL, str(error), "make setup")
    said = _output([str(binary), "--version"])
    if said is None:
        return Finding("server binary", Verdict.FAIL, f"{binary} does not run", "make setup")
    return Finding("server binary", Verdict.OK, said.strip().splitlines()[0])


def check_space(data_dir: Path) -> Finding:
    """There is room for data where it is kept."""
    place = next(
        path for path in (data_dir.resolve(), *data_dir.resolve().parents) if path.exists()
    )
    free = shutil.disk_usage(place).free
    found = f"{free / 1024**3:.1f} GiB free at {place}"
    if free < _NO_SPACE:
        return Finding("disk", Verdict.FAIL, found, "make room: restate-server stops without")
    if free < _LITTLE_SPACE:
        return Finding("disk", Verdict.WARN, found, "make room")
    return Finding("disk", Verdict.OK, found)


def check_unsubscribing(
    settings: configuration.Settings, running: Running | None = None
) -> Finding:
    """The unsubscribe links in marketing mails lead to us, from wherever they are read."""
    if settings.unsubscribing_works:
        return Finding("unsubscribing", Verdict.OK, f"links lead to {settings.webhooks_url}")
    leads_to = settings.webhooks_url
    if running is not None and settings.public_url is None:
        # The stack may have been given other ports than the settings say.
        leads_to = f"http://{settings.api.host}:{running.ports.api}"
    found = f"links in mails lead to {leads_to}, which nobody outside reaches"
    if not settings.callbacks.allow_private_addresses:
        found += ": marketing by e-mail is refused"
    return Finding(
        "unsubscribing", Verdict.WARN, found, "before production: public_url = https://…"
    )


def check_started(started: Started) -> Finding:
    """Our processes run without `hermes up`."""
    here = [name for name in FRONT if name in started.names]
    found = f"{', '.join(here)} run here, started one by one"
    missing = [name for name in FRONT if name not in started.names]
    if not missing:
        return Finding("stack", Verdict.OK, found)
    modules = ", ".join(f"python -m infra.processes.{name}" for name in missing)
    return Finding(
        "stack",
        Verdict.WARN,
        f"{found}; {', '.join(missing)} not",
        f"start what no other machine runs: {modules}",
    )


def check_front(started: Started) -> Iterator[Finding]:
    """No stranger holds the port of one of our processes. Those of the simulators, which are not
    for production, are anybody's."""
    strangers = [name for name in FRONT if name not in started.names]
    taken = [(n, port) for n, port in started.ports if n in strangers and in_use(port)]
    for name, port in taken:
        yield Finding(
            f"port {port}",
            Verdict.FAIL,
            f"({name}) is in use by {holder(port)}",
            f"stop it, or set HERMES_{name.upper()}__PORT",
        )
    if not taken:
        yield Finding("ports", Verdict.OK, f"{len(started.names)} held by our processes")


def check_ports(ports: Ports, running: Running | None) -> Iterator[Finding]:
    """Each port is free, or held by the stack that runs."""
    strangers = []
    ours = 0
    for name, port in ports:
        if not in_use(port):
            continue
        holds = holder(port)
        if running and (holds.pid is None or _belongs(holds.pid, running.pids)):
            ours += 1
        else:
            strangers.append((name, port, holds))
    for name, port, holds in strangers:
        yield Finding(
            f"port {port}",
            Verdict.FAIL,
            f"({name}) is in use by {holds}",
            f"stop it, or hermes up --port {name}=NUMBER",
        )
    if not strangers:
        found = f"{ours} of {len(list(ports))} held by our stack" if running else "all free"
        yield Finding("ports", Verdict.OK, found)


def check_http(name: str, base: str, path: str, logs: Path | None = None) -> Finding:
    """A component that runs answers 200; `logs` is where it writes its log, if that is known."""
    status, body = _get(base + path)
    if status == 200:
        return Finding(name, Verdict.OK, f"answers at {base}")
    found = f"{base}{path}: " + (f"{status} {body[:120]!r}" if status else body)
    return Finding(name, Verdict.FAIL, found, _look(logs, name))


def _look(logs: Path | None, name: str) -> str:
    return f"look into {logs / f'{name}.log' if logs else f'the log of {name}'}"


def check_deployments(ports: Ports) -> Finding:
    """Restate knows the handlers of both processes that serve some."""
    status, body = _get(f"http://{HOST}:{ports.admin}/deployments")
    try:
        known = {one.get("uri", "").rstrip("/") for one in json.loads(body)["deployments"]}
    except (ValueError, KeyError, AttributeError, TypeError):
        return Finding(
            "deployments", Verdict.FAIL, f"admin answers {status or body}", "see .hermes/logs"
        )
    wanted = {f"http://{HOST}:{port}": n for n, port in ports if n in ("endpoint", "pool")}
    missing = [name for uri, name in wanted.items() if uri not in known]
    if missing:
        return Finding(
            "deployments",
            Verdict.FAIL,
            f"not registered: {', '.join(missing)}",
            "start hermes up again, it registers them",
        )
    return Finding("deployments", Verdict.OK, "endpoint and pool are registered")


def check_services(admin: str) -> Finding:
    """Restate knows the handlers of endpoint and pool, under whatever address they have there."""
    status, body = _get(f"{admin}/deployments")
    try:
        known = {
            service["name"]
            for deployment in json.loads(body)["deployments"]
            for service in deployment["services"]
        }
    except (ValueError, KeyError, AttributeError, TypeError):
        found = f"admin at {admin} answers {status or body}"
        return Finding("deployments", Verdict.FAIL, found, "is restate-server there?")
    missing = [name for name, service in _SERVED.items() if service not in known]
    if missing:
        return Finding(
            "deployments",
            Verdict.FAIL,
            f"not registered: {', '.join(missing)}",
            "restate deployments register ADDRESS (for the pool, with --use-http1.1)",
        )
    return Finding("deployments", Verdict.OK, "endpoint and pool are registered")


def check_carriers(pool: str, key: str, logs: Path | None = None) -> Finding:
    """Every carrier of the bind pool is bound, and none is kept from working."""
    client = PoolClient(pool, key)
    try:
        carriers = client.carriers()
    except ApiError as error:
        return Finding("carriers", Verdict.FAIL, error.message, _look(logs, "pool"))
    except (KeyError, TypeError):
        found = f"{pool} does not answer as a bind pool"
        return Finding("carriers", Verdict.FAIL, found, "set pool.port to where the pool listens")
    finally:
        client.close()
    if not carriers:
        return Finding("carriers", Verdict.WARN, "none: no SMS leaves", "hermes carriers add")
    found = ", ".join(f"{carrier['name']} {_carrier_state(carrier)}" for carrier in carriers)
    failing = [one for one in carriers if one["state"] in ("down", "connecting", "invalid")]
    if failing:
        advice = "check hosts, credentials and network of "
        advice += f"{', '.join(one['name'] for one in failing)}: hermes carriers -v"
        return Finding("carriers", Verdict.FAIL, found, advice)
    unused = [one["name"] for one in carriers if one["state"] != "up"]
    if unused:
        advice = "; ".join(f"hermes carriers resume {name}" for name in unused)
        return Finding("carriers", Verdict.WARN, found, advice)
    if any(not one["bound"] for carrier in carriers for one in carrier["health"]["connections"]):
        return Finding("carriers", Verdict.WARN, found, "see why: hermes carriers -v")
    return Finding("carriers", Verdict.OK, found)


def _carrier_state(carrier: dict[str, Any]) -> str:
    """`up (3/4 bound)`, or the state alone."""
    connections = (carrier["health"] or {}).get("connections") or ()
    bound = sum(connection["bound"] for connection in connections)
    state = str(carrier["state"])
    return f"{state} ({bound}/{len(connections)} bound)" if connections else state


def check_keys(data_dir: Path) -> Finding:
    """The demo tenants' keys are there and nobody else can read them."""
    path = key_file(data_dir)
    try:
        keys = read_demo_keys(data_dir)
    except (OSError, ValueError) as error:
        return Finding("demo keys", Verdict.FAIL, str(error), f"remove {path}; hermes up")
    missing = [tenant for tenant in DEMO_TENANTS if tenant not in keys]
    if missing:
        return Finding("demo keys", Verdict.WARN, f"none for {', '.join(missing)}", "hermes up")
    if path.stat().st_mode & 0o077:
        return Finding("demo keys", Verdict.WARN, f"others can read {path}", f"chmod 600 {path}")
    return Finding("demo keys", Verdict.OK, ", ".join(keys))


def _belongs(pid: int, ours: frozenset[int]) -> bool:
    """True for one of our components, or a worker of one."""
    try:
        process = psutil.Process(pid)
        return any(one.pid in ours for one in (process, *process.parents()))
    except psutil.Error:
        return False


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _get(url: str) -> tuple[int, str]:
    """Status and body; status 0 and the reason when there is no answer."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    connect = http.client.HTTPSConnection if tls else http.client.HTTPConnection
    connection = connect(parts.hostname or HOST, parts.port, timeout=3)
    try:
        connection.request("GET", parts.path, headers={"Accept": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()
