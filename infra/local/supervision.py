"""Keep one program running: start it, know when it is ready, start it again when it dies."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_PROBE_INTERVAL = 0.02
_SLOW_PROBE_INTERVAL = 0.1  # once it took longer than a second
_FIRST_BACKOFF = 0.1
_LONGEST_BACKOFF = 5.0
_STEADY_AFTER = 10.0  # alive for so long, the next death is a new story
_LOG_LIMIT = 20 * 1024 * 1024
_LETHAL = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGABRT, signal.SIGSEGV}


class ComponentFailed(Exception):
    """A component did not become ready; the message holds the end of its log."""


Probe = Callable[[], bool]


def http_ok(port: int, path: str) -> Probe:
    """A probe that is content with any 2xx answer to GET on the loopback interface."""

    def probe() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", path)
            return 200 <= connection.getresponse().status < 300
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return probe


def every(*probes: Probe) -> Probe:
    """A probe that is content when all of them are."""
    return lambda: all(probe() for probe in probes)


@dataclass(frozen=True)
class Component:
    """A program of the stack. It is started once everything in `after` has been ready."""

    name: str
    command: Sequence[str]
    ready: Probe
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Incident:
    """A component died by itself and will be started again in `restart_in` seconds."""

    name: str
    how: str
    restart_in: float


class Reaper:
    """The pipe to reaper.py, which kills what we leave behind should we be killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_HERE / "reaper.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def began(self, group: int) -> None:
        """Put a process group on the list."""
        self._write(f"+{group}\n")

    def gone(self, group: int) -> None:
        """Take a process group off the list."""
        self._write(f"-{group}\n")

    def close(self) -> None:
        """Let the reaper kill what is still on the list, and end."""
        with self._lock, contextlib.suppress(BrokenPipeError, ValueError):
            if self._process.stdin:
                self._process.stdin.close()
        self._process.wait()

    def _write(self, line: str) -> None:
        with self._lock, contextlib.suppress(BrokenPipeError, ValueError):
            if self._process.stdin:
                self._process.stdin.write(line)
                self._process.stdin.flush()


class Supervised:
    """A component under supervision, in a thread of its own.

    The thread starts the program and outlives it: Linux ends a program whose parent *thread*
    ends (see launch.py). Until the first `ready`, a death is final: a program that cannot start
    is a fault to show, not to repeat. Afterwards it is started again, after 0.1 s and then
    twice as long each time, up to 5 s.
    """

    def __init__(
        self,
        component: Component,
        *,
        log: Path,
        directory: Path,
        environment: Mapping[str, str],
        reaper: Reaper,
        on_change: Callable[[], None],
        on_incident: Callable[[Incident], None],
    ) -> None:
        self.component = component
        self.log = log
        self._directory = directory
        self._environment = dict(environment)
        self._reaper = reaper
        self._on_change = on_change
        self._on_incident = on_incident
        self._changed = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._doomed = False  # a signal that ends it is on its way: never call it ready
        self._ever_ready = False
        self._failure: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"supervise-{component.name}", daemon=True
        )

    # --- asked from other threads

    def start(self) -> None:
        """Start the program; returns at once."""
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """The program's process id, None while it is not running."""
        with self._changed:
            return self._process.pid if self._process else None

    def wait_ready(self, deadline: float) -> None:
        """Return once the program is ready. `deadline` is a time.monotonic() value.

        Raises ComponentFailed when it died on its way there or the deadline passes.
        """
        with self._changed:
            while not self._ready:
                left = deadline - time.monotonic()
                failure = self._failure or ("is not ready in time" if left <= 0 else None)
                if self._stopping.is_set():
                    failure = "was stopped"
                if failure:
                    raise ComponentFailed(self._explain(failure))
                self._changed.wait(left)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program and all its children; nothing happens when it is down.

        After a signal that ends programs, `wait_ready` waits for the next start.
        """
        with self._changed:
            if self._process is None:
                return
            if number in _LETHAL:
                self._ready = False
                self._doomed = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def stop(self) -> None:
        """Ask the program to end and do not start it again; returns at once."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # one that a test has stopped could not answer

    def join(self, timeout: float) -> bool:
        """True when the program has ended and has been reaped, within `timeout` seconds."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of the program's log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 16_384))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def trim_log(self) -> None:
        """Move a log of more than 20 MiB to `….log.1`, over the one before."""
        with contextlib.suppress(OSError):
            if self.log.stat().st_size > _LOG_LIMIT:
                # The program goes on writing to the open file: copied and emptied, not renamed.
                shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
                os.truncate(self.log, 0)

    # --- the thread

    def _run(self) -> None:
        backoff = _FIRST_BACKOFF
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                process = self._spawn()
            except OSError as error:
                self._fail(f"cannot be started: {error}")
                return
            self._await_ready(process)
            how = self._await_end(process)
            if self._stopping.is_set():
                return
            if not self._ever_ready:
                self._fail(f"ended ({how}) before it was ready")
                return
            if time.monotonic() - began > _STEADY_AFTER:
                backoff = _FIRST_BACKOFF
            self._on_incident(Incident(self.component.name, how, backoff))
            self._stopping.wait(backoff)
            backoff = min(backoff * 2, _LONGEST_BACKOFF)

    def _spawn(self) -> subprocess.Popen[bytes]:
        self.trim_log()
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", str(_HERE / "launch.py"), str(os.getpid())),
                    *self.component.command,
                ],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._reaper.began(process.pid)
        with self._changed:
            self._process = process
            self._doomed = False
        self._on_change()
        if self._stopping.is_set():  # stop() came between the loop's question and now
            self.signal(signal.SIGTERM)
        return process

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        began = time.monotonic()
        while not self._stopping.is_set() and not _has_ended(process):
            if self.component.ready() and not _has_ended(process):
                with self._changed:
                    if not self._doomed:
                        self._ready = self._ever_ready = True
                        self._changed.notify_all()
                return
            slow = time.monotonic() - began > 1
            self._stopping.wait(_SLOW_PROBE_INTERVAL if slow else _PROBE_INTERVAL)

    def _await_end(self, process: subprocess.Popen[bytes]) -> str:
        if hasattr(os, "waitid"):
            # Not reaped yet, the leader keeps the group's number from being given to others.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        else:
            process.wait()
        with self._changed:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # its workers do not outlive it
            code = process.wait()
            self._process = None
            self._ready = False
            self._changed.notify_all()
        self._reaper.gone(process.pid)
        self._on_change()
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name

    def _fail(self, how: str) -> None:
        with self._changed:
            self._failure = how
            self._changed.notify_all()

    def _explain(self, how: str) -> str:
        tail = self.log_tail()
        said = f"The end of {self.log}:\n{tail}" if tail else f"{self.log} is empty."
        return f"{self.component.name} {how}. {said}"


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    if hasattr(os, "waitid"):  # a look that leaves the reaping to _await_end
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    return process.poll() is not None
