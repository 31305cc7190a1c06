"""`hermes carriers`: look at the carriers while they work, and change them while they run."""

from __future__ import annotations

import json
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from infra.cli.carrier_table import CarrierTable, connection_table, troubles
from infra.cli.client import ApiError
from infra.cli.console import as_json, console, print_json
from infra.cli.merge_patch import merge_patch
from infra.cli.operator import POOL_HELP, PoolClient, connected, with_pool
from infra.cli.removal import asked_first, confirm_removal

_EVERY = 1.0
Json = dict[str, Any]


@click.group(invoke_without_command=True)
@click.option("--once", is_flag=True, help="Show the table once, also on a terminal.")
@click.option("-v", "--verbose", is_flag=True, help="A line for each connection, too.")
@click.option("--pool", "base", metavar="URL", help=POOL_HELP)
@as_json
@click.pass_context
def carriers(
    ctx: click.Context, base: str | None, once: bool, verbose: bool, json_output: bool
) -> None:
    """Watch the carriers, and change them while they run.

    \b
    On a terminal the table is new every second, until Ctrl-C.
      hermes carriers -v
      hermes carriers set telia window=100 rate=250
      hermes carriers drain telia

    What is changed here is kept beside the settings and goes before them, after a restart, too.
    """
    ctx.obj = base
    if ctx.invoked_subcommand is not None:
        return
    with connected(base) as pool:
        found = pool.carriers()
        if json_output:
            print_json({"carriers": found})
        elif once or not sys.stdout.isatty():
            console().print(_drawn(found, verbose))
        else:
            _watch(pool, found, verbose)


@carriers.command()
@click.argument("file", type=click.Path(allow_dash=True), default="-")
@as_json
@with_pool
def add(pool: PoolClient, file: str, json_output: bool) -> None:
    """Add the carrier that FILE describes, or standard input.

    FILE is JSON, or TOML as in hermes.toml with one [[carriers]]. A password is best given as
    env:NAME or file:/path, as the pool sees them: then only that is stored.
    """
    carrier = pool.add(_account(file))
    _tell(carrier, f"{carrier['name']} is added and dials.", json_output)


@carriers.command("set")
@click.argument("name")
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE...")
@as_json
@with_pool
def change(pool: PoolClient, name: str, settings: tuple[str, ...], json_output: bool) -> None:
    """Change settings of the carrier NAME.

    \b
    The keys are those of [[carriers]] in hermes.toml:
      hermes carriers set telia window=100 rate=null hosts=a.example:2775,b.example:2775
      hermes carriers set telia ids.response=hex ids.receipt=decimal

    null is back to the default. Connections are made anew, one after the other, only where they
    must; window, rate and binds never need it. All of it is taken, or nothing.
    """
    patch = merge_patch(settings, _value)
    carrier = pool.change(name, patch)
    shown = ", ".join(f"{key} is {_shown(carrier['configuration'].get(key))}" for key in patch)
    _tell(carrier, f"{name}: {shown}.", json_output)


@carriers.command()
@click.argument("name")
@as_json
@with_pool
def suspend(pool: PoolClient, name: str, json_output: bool) -> None:
    """Give the carrier NAME no more messages; its binds stay and bring receipts."""
    _tell(pool.order(name, "suspend"), f"{name} is suspended; its binds stay.", json_output)


@carriers.command()
@click.argument("name")
@as_json
@with_pool
def drain(pool: PoolClient, name: str, json_output: bool) -> None:
    """Give the carrier NAME no more messages, let it answer those it has, and unbind.

    Receipts that are still to come wait with the carrier: suspend it first, to hear them.
    """
    _tell(pool.order(name, "drain"), f"{name} is drained and unbound.", json_output)


@carriers.command()
@click.argument("name")
@as_json
@with_pool
def resume(pool: PoolClient, name: str, json_output: bool) -> None:
    """Give the carrier NAME messages again.

    One of the settings that was removed comes back as the settings have it.
    """
    _tell(pool.order(name, "resume"), f"{name} takes messages once it is bound.", json_output)


@carriers.command()
@click.argument("name")
@asked_first
@as_json
@with_pool
def remove(pool: PoolClient, name: str, yes: bool, json_output: bool) -> None:
    """Drain the carrier NAME and forget it: suspend it first, to hear the receipts to come.

    One that the settings name stays removed, also after a restart, until it is resumed.
    """
    confirm_removal(name, f"Remove {name}?", yes=yes)
    pool.remove(name)
    if json_output:
        print_json({"name": name, "removed": True})
    else:
        click.echo(f"{name} is removed.")


def _watch(pool: PoolClient, found: list[Json], verbose: bool) -> None:
    try:
        with Live(_drawn(found, verbose), console=console(), auto_refresh=False) as live:
            while True:
                time.sleep(_EVERY)
                try:
                    found = pool.carriers()
                    drawn = _drawn(found, verbose)
                except ApiError as error:
                    drawn = Group(_drawn(found, verbose), Text(f"\n{error.message}", style="bad"))
                live.update(drawn, refresh=True)
    except KeyboardInterrupt:
        return


def _drawn(found: list[Json], verbose: bool) -> Group:
    if not found:
        return Group(
            Text("No carriers. hermes carriers add, or [[carriers]] in hermes.toml.", style="quiet")
        )
    parts: list[Any] = [CarrierTable(found)]
    if verbose:
        parts += [Text(), connection_table(found)]
    told = troubles(found)
    if told:
        parts += [Text(), *told]
    return Group(*parts)


def _tell(carrier: Json, sentence: str, json_output: bool) -> None:
    if json_output:
        print_json(carrier)
    else:
        console().print(Text(sentence), soft_wrap=True)


def _account(file: str) -> Any:
    if file == "-" and sys.stdin.isatty():
        raise click.UsageError("name a FILE, or give the JSON on standard input")
    called = "standard input" if file == "-" else file
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{called} cannot be read: {error}") from None
    try:
        if not file.endswith(".toml"):
            return json.loads(text)
        table = tomllib.loads(text)
    except ValueError as error:
        kind = "TOML" if file.endswith(".toml") else "JSON"
        raise click.ClickException(f"{called} is no {kind}: {error}") from None
    several = table.get("carriers")
    if several is None:
        return table
    if len(several) != 1:
        raise click.ClickException(f"{file} has {len(several)} carriers: add one at a time")
    return several[0]


def _value(path: tuple[str, ...], text: str) -> Any:
    """What was written for a key: text where the key takes text, else JSON, else text."""
    from adapters.smpp.carriers.faults import json_type

    kind = json_type(path)
    if text == "null":
        return None
    if kind == "string":
        return text
    if kind == "array" and not text.startswith("["):
        return [item for item in text.split(",") if item]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
