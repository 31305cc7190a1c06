"""All of Hermes on one machine: what `hermes up`, the benchmark and the scenario tests start."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import platform
import signal
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from infra.local.demo_keys import ensure_demo_keys
from infra.local.ports import HOST, Holder, Ports, holder, in_use
from infra.local.supervision import (
    Component,
    ComponentFailed,
    Incident,
    Reaper,
    Supervised,
    every,
    http_ok,
)

ROOT = Path(__file__).resolve().parents[2]
COMPONENTS = ("restate", "smsc", "mail", "providers", "endpoint", "pool", "api")
CARRYING = tuple(name for name in COMPONENTS if name != "providers")
"""What SMS and e-mail need."""
_FRONT = ("api", "endpoint", "pool")
STOP_GRACE = 3.5
"""Seconds between SIGTERM and SIGKILL; `stop` promises to be done within 5."""

_PORTS_OF = {
    "restate": ("ingress", "admin", "fabric"),
    "smsc": ("smsc", "smsc_control"),
    "mail": ("mail", "mail_control"),
    "providers": ("providers", "twilio", "sendgrid", "fcm", "whatsapp"),
    "endpoint": ("endpoint",),
    "pool": ("pool",),
    "api": ("api",),
}
_STAND_INS = (
    ("api.twilio.com", "twilio"),
    ("api.sendgrid.com", "sendgrid"),
    ("api.eu.sendgrid.com", "sendgrid"),
    ("fcm.googleapis.com", "fcm"),
    ("oauth2.googleapis.com", "fcm"),
    ("graph.facebook.com", "whatsapp"),
)
"""The hosts that the provider sandbox stands in for, with the port that does."""
_HTTP_1_1 = frozenset({"pool"})
SIMULATED_CARRIER = "simulator"


class StackError(Exception):
    """The stack cannot start; the message says why and what to do."""


class PortsTaken(StackError):
    """Ports that the stack needs are somebody else's. `holders` has who listens, by port's name."""

    def __init__(self, ports: Ports, holders: Mapping[str, Holder]) -> None:
        numbers = dict(ports)
        found = [f"port {numbers[name]} ({name}) is in use by {holders[name]}" for name in holders]
        options = " ".join(f"--port {name}=NUMBER" for name in holders)
        super().__init__("\n".join(found) + f"\nStop what is there, or choose others: {options}")
        self.holders = dict(holders)


class AlreadyRunning(StackError):
    """Another stack uses the same data directory."""


class RegistrationFailed(StackError):
    """restate-server does not accept a deployment; the message holds its answer."""


def restate_server(root: Path = ROOT) -> Path:
    """The server's binary from the npm package of this machine's system and processor.

    Not npm's wrapper of the same name: that one leaves the server behind when it is killed.
    Raises StackError when it is not installed.
    """
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    package = f"restate-server-{sys.platform}-{machine}"
    binary = root / "node_modules" / "@restatedev" / package / "bin" / "restate-server"
    if not binary.is_file():
        raise StackError(f"restate-server is not installed ({binary} is missing): make setup")
    return binary


class Stack:
    """The local stack. As a context manager it starts on entry and stops on exit.

    Every component is a process group of its own, which nothing survives: not `stop`, and not
    the death of this process, even by SIGKILL. One that dies is started again, and `on_incident`
    hears of it (from another thread). All methods may be called from any thread and block.

    `environment` goes over this process's own for all components, `commands` replaces a
    component's command line, `components` names those to start; what is left out must not be
    waited for. `config` is the components' settings file: HERMES_CONFIG, else the checkout's.
    """

    def __init__(
        self,
        *,
        ports: Ports | None = None,
        data_dir: Path | None = None,
        root: Path = ROOT,
        config: Path | None = None,
        environment: Mapping[str, str] | None = None,
        components: Sequence[str] = COMPONENTS,
        commands: Mapping[str, Sequence[str]] | None = None,
        on_incident: Callable[[Incident], None] = lambda incident: None,
    ) -> None:
        self.ports = ports or Ports()
        self.data_dir = (data_dir or root / ".hermes").resolve()
        self.keys: dict[str, str] = {}
        self._root = root
        # Absolute: the components run in `root`, wherever this process does.
        named = os.environ.get("HERMES_CONFIG")
        self.config = (config or Path(named or root / "hermes.toml")).resolve()
        self._extra_environment = dict(environment or {})
        self._names = tuple(name for name in COMPONENTS if name in components)
        self._commands = dict(commands or {})
        self._on_incident = on_incident
        self._supervised: dict[str, Supervised] = {}
        self._reaper: Reaper | None = None
        self._lock: IO[str] | None = None
        self._state_lock = threading.Lock()
        self._done = threading.Event()

    # --- where to find it

    @property
    def api_url(self) -> str:
        """The tenants' door."""
        return f"http://{HOST}:{self.ports.api}"

    @property
    def ingress_url(self) -> str:
        """The trusted door."""
        return f"http://{HOST}:{self.ports.ingress}"

    @property
    def admin_url(self) -> str:
        """restate-server's admin API; its UI is below `/ui/`."""
        return f"http://{HOST}:{self.ports.admin}"

    @property
    def smsc_url(self) -> str:
        """The SMSC simulator's control port."""
        return f"http://{HOST}:{self.ports.smsc_control}"

    @property
    def mail_url(self) -> str:
        """The mail sink's control port."""
        return f"http://{HOST}:{self.ports.mail_control}"

    @property
    def providers_url(self) -> str:
        """The provider sandbox's control port."""
        return f"http://{HOST}:{self.ports.providers}"

    def database(self) -> Path | str:
        """Where the components keep tenants and keys: as their settings will read it."""
        from pydantic import TypeAdapter, ValidationError

        from adapters.secrets import Secret

        name = "HERMES_DATABASE_URL"
        configured = self._configured().get("database_url")
        url = {**os.environ, **self._extra_environment}.get(name, configured)
        if url is None:
            return self.data_dir / "hermes.db"
        try:
            address: str = TypeAdapter(Secret).validate_python(url).get_secret_value()
        except ValidationError as error:
            [fault] = error.errors(include_input=False)
            said = fault["msg"].removeprefix("Value error, ")
            raise StackError(f"database_url: {said}") from None
        return address

    # --- its life

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(
        self, *, timeout: float = 60.0, progress: Callable[[str], None] = lambda name: None
    ) -> None:
        """Start every component and return when all are ready and the handlers registered.

        `progress` is called with each component's name when it is ready, then "deployments".
        Raises StackError or ComponentFailed; what was started by then is left for `stop`.
        """
        deadline = time.monotonic() + timeout
        self._claim_data_dir()
        self._check_ports()
        if "api" in self._names and "api" not in self._commands:
            self.keys = ensure_demo_keys(self.data_dir, self.database())
        self._reaper = Reaper()
        environment = self._environment()
        for name, component in self._components().items():
            self._supervised[name] = Supervised(
                component,
                log=self.data_dir / "logs" / f"{name}.log",
                directory=self._root,
                environment=environment,
                reaper=self._reaper,
                on_change=self._write_state,
                on_incident=self._on_incident,
            )
        threading.Thread(target=self._keep_logs_small, name="logs", daemon=True).start()
        self._start_in_order(deadline, progress)

    def _start_in_order(self, deadline: float, progress: Callable[[str], None]) -> None:
        """Start each component when those it comes after are ready, the others side by side."""
        ready: set[str] = set()

        def settle(names: Sequence[str]) -> None:
            for name in names:
                if name in self._supervised and name not in ready:
                    self._supervised[name].wait_ready(deadline)
                    ready.add(name)
                    progress(name)

        for supervised in self._supervised.values():
            settle(supervised.component.after)
            supervised.start()
        handlers = [name for name in ("endpoint", "pool") if name in self._supervised]
        settle(("restate", *handlers))
        if "restate" in self._supervised and handlers:
            for name in handlers:
                uri = f"http://{HOST}:{getattr(self.ports, name)}"
                self.register(uri, deadline, http_1_1=name in _HTTP_1_1)
            progress("deployments")
        settle(self._names)

    def stop(self) -> None:
        """End every component, within 5 seconds; what SIGTERM does not end, SIGKILL does."""
        self._done.set()
        deadline = time.monotonic() + STOP_GRACE
        # First those that talk to the others, so that they can take their leave.
        for names, until in ((_FRONT, deadline - STOP_GRACE / 2), (COMPONENTS, deadline)):
            members = [self._supervised[name] for name in names if name in self._supervised]
            for supervised in members:
                supervised.stop()
            for supervised in members:
                supervised.join(max(0.0, until - time.monotonic()))
        for supervised in self._supervised.values():
            supervised.signal(signal.SIGKILL)
        for supervised in self._supervised.values():
            supervised.join(1.0)
        if self._reaper:
            self._reaper.close()
            self._reaper = None
        if self._lock:
            with contextlib.suppress(FileNotFoundError):
                self._state_file.unlink()
            self._lock.close()
            self._lock = None

    # --- what tests do to it

    def pid(self, name: str) -> int | None:
        """A component's process id, None while it is down. Its workers are its children."""
        return self._supervised[name].pid

    def pids(self) -> dict[str, int]:
        """The process ids of the components that are running."""
        found = {name: supervised.pid for name, supervised in self._supervised.items()}
        return {name: pid for name, pid in found.items() if pid is not None}

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a component and its children; returns at once."""
        self._supervised[name].signal(number)

    def wait_ready(self, name: str, timeout: float = 15.0) -> None:
        """Return once a component is ready; after a `kill`, once its successor is.

        Raises ComponentFailed after `timeout` seconds, with the end of its log.
        """
        self._supervised[name].wait_ready(time.monotonic() + timeout)

    def log(self, name: str) -> Path:
        """The file that takes what a component prints."""
        return self.data_dir / "logs" / f"{name}.log"

    def register(self, uri: str, deadline: float | None = None, *, http_1_1: bool = False) -> str:
        """Make a deployment's handlers known to Restate; returns the deployment's id.

        With `http_1_1` each attempt is one request and one answer, which suits handlers that wait
        for nothing of Restate's; otherwise it is a stream over HTTP/2.

        `force` replaces what was known of the same address: right for one box, where the code
        behind an address changes between starts, and wrong for production. Raises
        RegistrationFailed.
        """
        until = deadline if deadline is not None else time.monotonic() + 15
        while True:
            status, answer = self._post_deployment(uri, http_1_1)
            if status in (200, 201):
                return str(answer["id"])
            # Just after its start the server may not have elected its leaders yet.
            if status < 500 or time.monotonic() > until:
                message = answer.get("message", answer)
                raise RegistrationFailed(f"Restate did not take the deployment {uri}: {message}")
            time.sleep(0.1)

    # --- inside

    def _post_deployment(self, uri: str, http_1_1: bool) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection(HOST, self.ports.admin, timeout=30)
        try:
            connection.request(
                "POST",
                "/deployments",
                json.dumps({"uri": uri, "force": True, "use_http_11": http_1_1}),
                {"content-type": "application/json"},
            )
            response = connection.getresponse()
            body = response.read()
            return response.status, json.loads(body)
        except ValueError:
            return response.status, {"message": body[:500].decode(errors="replace")}
        except (OSError, http.client.HTTPException) as error:
            return 599, {"message": str(error)}
        finally:
            connection.close()

    def _claim_data_dir(self) -> None:
        # For its owner only: messages, recipients and keys are in it.
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.data_dir / "logs").mkdir(exist_ok=True)
        lock = (self.data_dir / "stack.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read().strip() or "another process"
            lock.close()
            raise AlreadyRunning(
                f"a stack with the data directory {self.data_dir} is running already "
                f"(process {owner}). Stop it, or give this one its own: --data-dir and --port"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _check_ports(self) -> None:
        mine = [name for component in self._names for name in _PORTS_OF[component]]
        taken = {name: holder(port) for name, port in self.ports if name in mine and in_use(port)}
        if taken:
            raise PortsTaken(self.ports, taken)

    @property
    def _state_file(self) -> Path:
        return self.data_dir / "stack.json"

    def _write_state(self) -> None:
        """Tell others (`hermes doctor`) which processes are ours."""
        with self._state_lock:
            state = {"pid": os.getpid(), "ports": dict(self.ports), "components": self.pids()}
            draft = self._state_file.with_suffix(".new")
            draft.write_text(json.dumps(state, indent=2) + "\n")
            draft.replace(self._state_file)

    def _keep_logs_small(self) -> None:
        while not self._done.wait(30):
            for supervised in self._supervised.values():
                supervised.trim_log()

    def _environment(self) -> dict[str, str]:
        ports = self.ports
        environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "HERMES_CONFIG": str(self.config),
            "HERMES_DATA_DIR": str(self.data_dir),
            "HERMES_RESTATE__INGRESS": self.ingress_url,
            "HERMES_RESTATE__ADMIN": self.admin_url,
            "HERMES_API__PORT": str(ports.api),
            "HERMES_ENDPOINT__PORT": str(ports.endpoint),
            "HERMES_POOL__PORT": str(ports.pool),
            "HERMES_EMAIL__PORT": str(ports.mail),
            "RESTATE_BASE_DIR": str(self.data_dir / "restate"),
            "RESTATE_BIND_PORT": str(ports.fabric),
            "RESTATE_ADMIN__BIND_PORT": str(ports.admin),
            "RESTATE_INGRESS__BIND_PORT": str(ports.ingress),
            "RESTATE_LOG_DISABLE_ANSI_CODES": "true",
        }
        environment.pop("RESTATE_CONFIG", None)
        if "providers" in self._names:
            reroute = {host: f"http://{HOST}:{getattr(ports, at)}" for host, at in _STAND_INS}
            environment["HERMES_ADAPTERS__REROUTE"] = json.dumps(reroute)
            register = f"http://{HOST}:{ports.providers}/operators/{{number}}"
            environment["HERMES_NUMBER_LOOKUP__URL"] = register
        carriers = self._carriers()
        if carriers is not None:
            environment["HERMES_CARRIERS"] = json.dumps(carriers)
        return {**environment, **self._extra_environment}

    def _configured(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.config.read_text())
        except (OSError, ValueError) as error:
            raise StackError(f"{self.config} cannot be read: {error}") from None

    def _carriers(self) -> list[dict[str, Any]] | None:
        """The file's carriers with the simulator's port in place; None when it is there already.

        A list cannot be changed in part from the environment, so it is handed over whole.
        """
        configured = self._configured().get("carriers", [])
        hosts = [f"{HOST}:{self.ports.smsc}"]
        wrong = [
            carrier
            for carrier in configured
            if carrier.get("name") == SIMULATED_CARRIER and carrier.get("hosts") != hosts
        ]
        if not wrong:
            return None
        for carrier in wrong:
            carrier["hosts"] = hosts
        return list(configured)

    def _components(self) -> dict[str, Component]:
        ports = self.ports
        control = "--control-port"
        python = (sys.executable, "-m")
        smsc_login = ("--system-id", "hermes", "--password", "hermes")
        commands: dict[str, Sequence[str]] = {
            "smsc": [
                *(*python, "infra.simulators.smsc", "--host", HOST, "--port", str(ports.smsc)),
                *(control, str(ports.smsc_control), *smsc_login),
            ],
            "mail": [
                *(*python, "infra.simulators.mail_sink", "--host", HOST),
                *("--port", str(ports.mail), control, str(ports.mail_control)),
            ],
            "providers": [
                *(*python, "infra.simulators.providers", "--host", HOST),
                *("--accounts", str(self.data_dir / "provider-accounts.json")),
                *(control, str(ports.providers), "--twilio-port", str(ports.twilio)),
                *("--sendgrid-port", str(ports.sendgrid), "--fcm-port", str(ports.fcm)),
                *("--whatsapp-port", str(ports.whatsapp)),
            ],
            "endpoint": [*python, "infra.processes.endpoint"],
            "pool": [*python, "infra.processes.pool"],
            "api": [*python, "infra.processes.api"],
            **self._commands,
        }
        if "restate" in self._names and "restate" not in commands:
            file = str(self._root / "restate.toml")
            binary = str(restate_server(self._root))
            commands["restate"] = [binary, "--no-logo", "--config-file", file]
        ready = {
            "restate": every(
                http_ok(ports.ingress, "/restate/health"), http_ok(ports.admin, "/health")
            ),
            "smsc": http_ok(ports.smsc_control, "/stats"),
            "mail": http_ok(ports.mail_control, "/stats"),
            "providers": http_ok(ports.providers, "/stats"),
            "endpoint": http_ok(ports.endpoint, "/health"),
            "pool": http_ok(ports.pool, "/health"),
            "api": http_ok(ports.api, "/readyz"),
        }
        after = {"pool": ("smsc",)}  # the first bind succeeds: no error in the log of a good start
        return {
            name: Component(name, commands[name], ready[name], after.get(name, ()))
            for name in self._names
        }


__all__ = [
    "CARRYING",
    "COMPONENTS",
    "AlreadyRunning",
    "ComponentFailed",
    "Incident",
    "Ports",
    "PortsTaken",
    "RegistrationFailed",
    "Stack",
    "StackError",
    "restate_server",
]
