"""`hermes adapters`: write HTTP providers, and put them to use."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from rich.text import Text

from infra.cli import adapter_folder
from infra.cli.adapter_table import adapter_page, adapter_table
from infra.cli.client import ApiClient, with_api
from infra.cli.console import as_json, console, print_json, say
from infra.cli.removal import asked_first, confirm_removal

_PATH = "/v1/adapters"
_TRIAL = 150.0
"""Seconds for what compiles and tries an adapter."""
Json = dict[str, Any]


@click.group()
def adapters() -> None:
    """Write HTTP providers as sandboxed adapters, and put them to use.

    \b
    On this machine:
      hermes adapters new acme          a folder to begin with
      hermes adapters test acme         play its test vectors
      hermes adapters build acme        make the zip
    At the API, with your tenant's key:
      hermes adapters publish acme
      hermes adapters configure acme account=17 token=@token.txt
      hermes adapters activate acme
    """


@adapters.command()
@click.argument("name")
@click.option("--directory", type=click.Path(path_type=Path), help="Where; else ./NAME.")
@as_json
def new(name: str, directory: Path | None, json_output: bool) -> None:
    """Make a folder for the adapter NAME, with an example that builds and passes its tests."""
    place = directory or Path(name)
    files = adapter_folder.create(name, place)
    if json_output:
        print_json({"directory": str(place), "files": [str(path) for path in files]})
        return
    for path in files:
        click.echo(path)
    say(f"Next: hermes adapters test {place}", "quiet")


@adapters.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=".")
@as_json
def build(directory: Path, json_output: bool) -> None:
    """Build the adapter in DIRECTORY, and pack it into a zip to publish.

    The same sources make the same zip.
    """
    bundle = adapter_folder.build(directory)
    if json_output:
        print_json({"bundle": str(bundle), "bytes": bundle.stat().st_size})
    else:
        click.echo(bundle)


@adapters.command()
@click.argument("name", default=".")
@as_json
def test(name: str, json_output: bool) -> None:
    """Play the test vectors of NAME: a folder, or an adapter that comes with Hermes.

    Exits with 1 when one fails.
    """
    from adapters.wasm.manifest import ManifestError
    from adapters.wasm.runtime.faults import AdapterFailed
    from adapters.wasm.sdk.build import BuildFailed
    from adapters.wasm.testing import VectorsError, run

    directory = adapter_folder.folder(name)
    try:
        played = run(directory)
    except (ManifestError, BuildFailed, VectorsError, AdapterFailed) as error:
        raise click.ClickException(f"{directory}: {error}") from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    if json_output:
        print_json(
            {
                "adapter": played.manifest.name,
                "passed": len(played.results) - len(played.failed),
                "failed": [
                    {
                        "file": result.vector.origin,
                        "vector": result.vector.name,
                        "faults": list(result.faults),
                        "log": list(result.log),
                    }
                    for result in played.failed
                ],
            }
        )
    else:
        for line in played.lines():
            click.echo(line)
    if not played.ok:
        sys.exit(1)


@adapters.command("list")
@as_json
@with_api
def list_adapters(api: ApiClient, json_output: bool) -> None:
    """List your adapters and those that come with Hermes."""
    found = api.ask("GET", _PATH)["data"]
    if json_output:
        print_json(found)
    elif found:
        console().print(adapter_table(found))
    else:
        console().print("No adapters. hermes adapters new NAME begins one.", style="quiet")


@adapters.command()
@click.argument("name")
@as_json
@with_api
def show(api: ApiClient, name: str, json_output: bool) -> None:
    """Show the adapter NAME with its versions, health and configuration, without secrets."""
    _print(api.ask("GET", _path(name)), json_output)


@adapters.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path), default=".")
@click.option("--activate", "activated", is_flag=True, help="Put it to use at once.")
@as_json
@with_api
def publish(api: ApiClient, path: Path, activated: bool, json_output: bool) -> None:
    """Upload the zip, or the folder, PATH as a new version. A folder is built first.

    It is checked, compiled and tried; it is not in use before you activate it.
    """
    bundle = adapter_folder.build(path) if path.is_dir() else path
    name, content = _packed(bundle)
    version = api.ask("POST", f"{_path(name)}/versions", content, patience=_TRIAL)
    if not activated:
        sentence = f"{name} {version['version']} is published ({version['digest'][:12]})."
        _tell(version, sentence, json_output)
        if not json_output and not version["active"]:
            say(f"Next: hermes adapters {_next(api, name)}", "quiet")
        return
    adapter = api.ask("POST", f"{_path(name)}/activate", {"version": version["digest"]})
    _tell(adapter, f"{name} {version['version']} is published and in use.", json_output)


@adapters.command()
@click.argument("name")
@click.argument("values", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--unset", multiple=True, metavar="KEY", help="Remove a value.")
@click.option("--ask", multiple=True, metavar="KEY", help="Ask for a value, without showing it.")
@click.option("--version", help="A version to be activated next, which it has to suit as well.")
@as_json
@with_api
def configure(
    api: ApiClient,
    name: str,
    values: tuple[str, ...],
    unset: tuple[str, ...],
    ask: tuple[str, ...],
    version: str | None,
    json_output: bool,
) -> None:
    """Change values of the configuration of the adapter NAME; the others stay.

    \b
    KEY=@FILE takes what is in FILE, KEY=- standard input: a secret on the command line
    would be seen by others on this machine.
      hermes adapters configure twilio account_sid=AC0123 auth_token=@token.txt
      hermes adapters configure twilio --ask auth_token

    The adapter is tried with it first: all of it is taken, or nothing.
    """
    if not (values or unset or ask):
        raise click.UsageError("name a KEY=VALUE, or --unset KEY, or --ask KEY")
    keys = api.ask("GET", _path(name))["configuration"]
    changes: Json = dict.fromkeys(unset)
    for given in values:
        key, equals, text = given.partition("=")
        if not key or not equals:
            raise click.UsageError(f"{given!r} is no KEY=VALUE")
        changes[key] = _typed(key, _read(key, text), keys)
    for key in ask:
        changes[key] = _typed(key, click.prompt(key, hide_input=True, err=True), keys)
    body: Json = {"configuration": changes}
    if version is not None:
        body["version"] = version
    adapter = api.ask("PUT", f"{_path(name)}/configuration", body, patience=_TRIAL)
    _print(adapter, json_output)


@adapters.command()
@click.argument("name")
@click.option("--version", help="Its number or digest; else the newest.")
@click.option(
    "--priority",
    type=click.IntRange(0, 1000),
    help="Its place among the adapters of a channel; the lowest number goes first. Alone, it "
    "leaves the version in use as it is.",
)
@as_json
@with_api
def activate(
    api: ApiClient, name: str, version: str | None, priority: int | None, json_output: bool
) -> None:
    """Put a version of the adapter NAME to use, while traffic runs.

    It is tried first. Attempts under way finish on the version that began them.
    """
    body = {"version": version, "priority": priority}
    given = {key: value for key, value in body.items() if value is not None}
    adapter = api.ask("POST", f"{_path(name)}/activate", given, patience=_TRIAL)
    _in_use(adapter, json_output)


@adapters.command()
@click.argument("name")
@as_json
@with_api
def rollback(api: ApiClient, name: str, json_output: bool) -> None:
    """Go back to the version of the adapter NAME that was in use before, at once."""
    _in_use(api.ask("POST", f"{_path(name)}/rollback"), json_output)


@adapters.command()
@click.argument("name")
@as_json
@with_api
def deactivate(api: ApiClient, name: str, json_output: bool) -> None:
    """Take the adapter NAME out of use, and keep its versions and its configuration.

    Attempts under way finish on it. hermes adapters rollback NAME puts it to use again.
    """
    adapter = api.ask("POST", f"{_path(name)}/deactivate")
    _tell(adapter, f"{adapter['name']} is out of use; all of it is kept.", json_output)


@adapters.command()
@click.argument("name")
@click.option("--version", help="Only this version, which must not be in use.")
@asked_first
@as_json
@with_api
def remove(api: ApiClient, name: str, version: str | None, yes: bool, json_output: bool) -> None:
    """Take the adapter NAME out of use and away, with its configuration.

    Attempts under way finish on it. One that comes with Hermes stays available.
    """
    what = f"{name} {version}" if version else name
    confirm_removal(what, f"Remove {what}?", yes=yes)
    path = f"{_path(name)}/versions/{quote(version, safe='')}" if version else _path(name)
    _tell(api.ask("DELETE", path), f"{what} is removed.", json_output)


def _next(api: ApiClient, name: str) -> str:
    """What a version that was published waits for."""
    configuration = api.ask("GET", _path(name))["configuration"]
    missing = [
        key
        for key, setting in configuration.items()
        if setting["required"] and not setting["set"] and "default" not in setting
    ]
    if missing:
        return f"configure {name} {' '.join(f'{key}=…' for key in missing)}"
    return f"activate {name}"


def _path(name: str) -> str:
    return f"{_PATH}/{quote(name, safe='')}"


def _packed(bundle: Path) -> tuple[str, bytes]:
    """A zip's adapter and its bytes."""
    from adapters.wasm.upload.archive import MAX_ZIP, read_bundle
    from adapters.wasm.upload.refusal import Refused

    try:
        if bundle.stat().st_size > MAX_ZIP:
            raise click.ClickException(f"{bundle} has more than {MAX_ZIP:,} bytes.")
        content = bundle.read_bytes()
        return read_bundle(content).manifest.name, content
    except Refused as refused:
        raise click.ClickException(f"{bundle}: {refused}") from None
    except OSError as error:
        raise click.ClickException(f"{bundle}: {error.strerror}") from None


def _read(key: str, text: str) -> str:
    """What a KEY=VALUE means."""
    if text == "-":
        return sys.stdin.read().rstrip("\n")
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text().rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{key}: {text[1:]} cannot be read: {error}") from None


def _typed(key: str, text: str, keys: dict[str, Json]) -> Any:
    """A text as the type that the manifest names."""
    kind = keys.get(key, {}).get("type", "string")
    if kind == "integer":
        try:
            return int(text)
        except ValueError:
            raise click.UsageError(f"{key}: {text!r} is no whole number") from None
    if kind == "boolean":
        if text not in ("true", "false"):
            raise click.UsageError(f"{key} is true or false, not {text!r}")
        return text == "true"
    return text


def _in_use(adapter: Json, json_output: bool) -> None:
    active = adapter["active"]
    sentence = (
        f"{adapter['name']} {active['version']} is in use, with priority {adapter['priority']}."
    )
    _tell(adapter, sentence, json_output)


def _print(adapter: Json, json_output: bool) -> None:
    if json_output:
        print_json(adapter)
    else:
        console().print(adapter_page(adapter))


def _tell(answer: Json, sentence: str, json_output: bool) -> None:
    if json_output:
        print_json(answer)
    else:
        console().print(Text(sentence), soft_wrap=True)
