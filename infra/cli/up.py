"""`hermes up`: the local stack, in the foreground."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click
from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from infra.cli.client import load_settings, load_settings_of_processes
from infra.cli.console import console, seconds
from infra.local.demo import TENANT, demonstrate
from infra.local.demo_adapters import prefer_simulators, set_up_demo_adapters
from infra.local.demo_keys import key_file
from infra.local.ports import Ports
from infra.local.stack import (
    COMPONENTS,
    SIMULATED_CARRIER,
    ComponentFailed,
    Incident,
    Stack,
    StackError,
)
from infra.settings import Settings
from infra.settings import file as settings_file

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STEPS = (*COMPONENTS, "deployments")
_WHAT = {
    "restate": "restate-server",
    "smsc": "SMSC simulator",
    "mail": "mail sink",
    "providers": "provider sandbox",
    "endpoint": "endpoint",
    "pool": "SMPP bind pool",
    "api": "API",
    "deployments": "endpoint and pool registered",
}


class _Stopped(BaseException):
    """A signal asks us to end. Not an Exception: nothing on its way here may swallow it."""


def _port_option(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, int]:
    changes = {}
    for value in values:
        name, _, number = value.partition("=")
        if not number.isdecimal() or not 0 < int(number) < 65536:
            raise click.BadParameter(f"{value!r} is not NAME=NUMBER with a number up to 65535")
        changes[name] = int(number)
    return changes


@click.command()
@click.option(
    "--demo",
    type=click.Choice(["yes", "no", "exit"]),
    is_flag=False,
    flag_value="yes",
    default="yes",
    help="Send the demonstration message [yes]; `exit`: stop after it.",
)
@click.option("--no-demo", is_flag=True, help="The same as --demo=no.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where data and logs are kept [the settings' data_dir].",
)
@click.option(
    "--port",
    "port_changes",
    multiple=True,
    callback=_port_option,
    metavar="NAME=NUMBER",
    help=f"Change a port: {', '.join(name for name, _ in Ports())}.",
)
def up(demo: str, no_demo: bool, data_dir: Path | None, port_changes: dict[str, int]) -> None:
    """Start all of Hermes on this machine, with simulators as the other side.

    Stays until Ctrl-C or SIGTERM and then ends every process it started. Data is kept for the
    next time in the data directory.
    """
    out = console()
    settings = load_settings()
    try:
        ports = Ports.of(settings).with_changes(port_changes)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--port") from None
    demo = "no" if no_demo else demo
    stack = Stack(
        ports=ports,
        data_dir=data_dir or settings.data_dir,
        on_incident=lambda incident: _tell(out, incident),
    )
    here = settings_file()
    if here.is_file() and here.resolve() != stack.config:
        _tell_what_is_left_out(stack, settings, here, out)
    else:
        load_settings_of_processes()
    passed = True
    with _signals_stop_us():
        try:
            _start(stack, out)
            if demo != "no":
                passed = demonstrate(stack, out)
                out.print()
            if demo != "exit":
                _set_up_adapters(stack, out)
                _print_map(stack, out, data_dir)
                threading.Event().wait()
        except _Stopped:
            out.print()
        except (StackError, ComponentFailed) as error:
            raise click.ClickException(str(error)) from None
        finally:
            _stop(stack, out)
    if not passed:
        sys.exit(1)


def _tell_what_is_left_out(stack: Stack, settings: Settings, here: Path, out: Console) -> None:
    """Whoever writes a hermes.toml of their own expects it to be used. It is not: the
    demonstration would go to a real carrier and a real relay."""
    told = [f"! The stack has the settings of {stack.config}: of {here} data_dir and ports alone."]
    carriers = () if "HERMES_CARRIERS" in os.environ else settings.carriers
    left_out = [one.name for one in carriers if one.name != SIMULATED_CARRIER]
    if left_out:
        file = here if len(carriers) == 1 else "FILE, with one [[carriers]] in each"
        told += [f"! Left out: {', '.join(left_out)}. Once it is up: hermes carriers add {file}"]
    for line in told:
        out.print(Text(line, style="warn"), soft_wrap=True)
    out.print()


@contextlib.contextmanager
def _signals_stop_us() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        for each in _SIGNALS:  # stopping takes less than 5 s and is not to be disturbed
            signal.signal(each, signal.SIG_IGN)
        raise _Stopped

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(stack: Stack, out: Console) -> None:
    began = time.monotonic()
    ready: dict[str, float] = {}
    board = _Board(ready)
    with Live(board, console=out, transient=True, refresh_per_second=12):
        stack.start(progress=lambda name: ready.update({name: time.monotonic() - began}))
    out.print(Text(f"✓ The stack is up after {seconds(time.monotonic() - began)}", "good"))
    out.print()


def _set_up_adapters(stack: Stack, out: Console) -> None:
    with out.status(Text("adapters for the provider sandbox (compiled the first time)", "quiet")):
        prefer_simulators(stack.database())
        names = set_up_demo_adapters(stack)
    out.print(Text(f"✓ {TENANT} also sends by {', '.join(names)}", "good"))
    out.print()


class _Board:
    """What is ready and what is being waited for."""

    def __init__(self, ready: dict[str, float]) -> None:
        self._ready = ready
        self._spinners = {name: Spinner("dots", Text(_WHAT[name])) for name in _STEPS}

    def __rich__(self) -> Group:
        return Group(
            *(
                Text.assemble(("✓ ", "good"), _WHAT[name], (f"  {seconds(at)}", "quiet"))
                if (at := self._ready.get(name)) is not None
                else self._spinners[name]
                for name in _STEPS
            )
        )


def _print_map(stack: Stack, out: Console, data_dir: Path | None) -> None:
    places = Table(box=None, pad_edge=False, show_header=False, padding=(0, 3, 0, 2))
    places.add_column(style="quiet")
    places.add_column(style="link", no_wrap=True)
    places.add_row("API, with docs", f"{stack.api_url}/docs")
    places.add_row("Restate UI", f"{stack.admin_url}/ui/")
    places.add_row("Mail sink", f"{stack.mail_url}/")
    places.add_row("Provider sandbox", f"{stack.providers_url}/stats")
    places.add_row("SMSC simulator", f"{stack.smsc_url}/stats")
    places.add_row("Logs", _brief(stack.data_dir / "logs"))
    places.add_row("Keys", f"{_brief(key_file(stack.data_dir))} ({', '.join(stack.keys)})")
    out.print(places)
    out.print()
    out.print(Text("Try next, in another terminal:"))
    for command in _commands(stack, data_dir):
        out.print()
        out.print(Text(command, style="strong"), soft_wrap=True)
    out.print()
    out.print(Text("Ctrl-C stops everything.", style="quiet"))


def _commands(stack: Stack, data_dir: Path | None) -> list[str]:
    """Three commands that work when pasted as they are."""
    hermes = _brief(Path(sys.executable).with_name("hermes"))
    if data_dir:
        hermes = f"HERMES_DATA_DIR={_brief(stack.data_dir)} {hermes}"
    at = "" if stack.ports.api == Ports().api else f" --api {stack.api_url}"
    return [
        f'{hermes} send{at} --to sms=+4520123456 --text "Your code is 1234" --watch',
        f"{hermes} messages list{at}",
        (
            f"curl {stack.api_url}/v1/messages \\\n"
            f'  -H "Authorization: Bearer $({hermes} keys demo {TENANT})" \\\n'
            "  -H 'Content-Type: application/json' \\\n"
            '  -d \'{"to": {"email": "anna@example.com"}, "content": {"text": "Hi Anna"}}\''
        ),
    ]


def _brief(path: Path) -> str:
    """The path as one would type it from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _tell(out: Console, incident: Incident) -> None:
    out.print(
        Text(
            f"{_WHAT[incident.name]} died ({incident.how}); "
            f"starting it again in {seconds(incident.restart_in)}",
            style="warn",
        )
    )


def _stop(stack: Stack, out: Console) -> None:
    running = len(stack.pids())
    began = time.monotonic()
    stack.stop()
    if running:
        took = seconds(time.monotonic() - began)
        out.print(Text(f"Stopped {running} processes in {took}.", style="quiet"))
