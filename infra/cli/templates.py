"""`hermes templates`: what messages say, in versions and languages."""

from __future__ import annotations

import json
from typing import IO, Any
from urllib.parse import quote

import click
from rich.text import Text

from infra.cli.client import ApiClient, with_api
from infra.cli.console import as_json, console, print_json, say
from infra.cli.plain_table import day, plain_table
from infra.cli.removal import asked_first, confirm_removal

Json = dict[str, Any]
_PATH = "/v1/templates"
_EXAMPLE: Json = {
    "default_language": "en",
    "time_zone": "Europe/Copenhagen",
    "variables": {
        "name": {"max_length": 40},
        "day": {"type": "date"},
        "price": {"type": "money", "required": False},
        "link": {"type": "url"},
    },
    "languages": {
        "en": {
            "text": "Hi {{name}}, see you on {{day|long}}.{{#if price}} It costs {{price}}.{{/if}}",
            "subject": "Your visit on {{day|long}}",
            "html": '<p>Hi {{name}}, see you on {{day|long}}.</p><a href="{{link}}">Change it</a>',
            "variants": {"sms": {"text": "{{name}}, see you on {{day|short}}: {{link}}"}},
        },
        "da": {
            "text": "Hej {{name}}, vi ses {{day|long}}.{{#if price}} Det koster {{price}}.{{/if}}",
            "subject": "Dit besøg {{day|long}}",
        },
    },
}


@click.group()
def templates() -> None:
    """Write what messages say once, in several languages, with typed variables.

    \b
      hermes templates example > visit.json
      hermes templates create visit visit.json
      hermes templates render visit --set name=Anna --set day=2026-03-12 \\
                                    --set link=https://shop.example/7
      hermes templates publish visit visit.json --activate
    """


@templates.command()
def example() -> None:
    """Print a definition to begin with."""
    click.echo(json.dumps(_EXAMPLE, indent=2, ensure_ascii=False))


@templates.command("list")
@as_json
@with_api
def list_templates(api: ApiClient, json_output: bool) -> None:
    """List the templates."""
    found = api.ask("GET", _PATH)["data"]
    if json_output:
        print_json(found)
        return
    if not found:
        console().print(
            "No templates. hermes templates example prints one to begin with.", style="quiet"
        )
        return
    table = plain_table("template", "version", "changed", "languages", "variables",
                        right=("version",))  # fmt: skip
    for template in found:
        table.add_row(
            Text(template["name"], style="strong"),
            Text(str(template["active"])),
            Text(day(template["changed_at"])),
            Text(" ".join(template["languages"])),
            Text(", ".join(map(_variable, *_columns(template["variables"]))), style="quiet"),
        )
    console().print(table)


@templates.command()
@click.argument("name")
@click.option("--version", type=click.IntRange(1), help="Else the one in use.")
@as_json
@with_api
def show(api: ApiClient, name: str, version: int | None, json_output: bool) -> None:
    """Show the template NAME: its versions, and what one of them says."""
    if version is not None:
        found = api.ask("GET", f"{_path(name)}/versions/{version}")
    else:
        found = api.ask("GET", _path(name))
    if json_output:
        print_json(found)
        return
    out = console()
    out.print(Text.assemble((name, "strong.strong"), f"  version {version or found['active']}"))
    for key, variable in (found["definition"].get("variables") or {}).items():
        described = variable.get("description")
        out.print(
            Text.assemble("  ", (_variable(key, variable), "strong"), f"  {described or ''}"),
            soft_wrap=True,
        )
    for language, wording in found["definition"]["languages"].items():
        out.print()
        default = "  (default)" if language == found["definition"]["default_language"] else ""
        out.print(Text.assemble((language, "channel.strong"), (default, "quiet")))
        for part, text in _parts(wording):
            out.print(Text.assemble(("  " + part + ": ", "quiet"), text), soft_wrap=True)
    if "versions" in found:
        out.print()
        table = plain_table("version", "", "languages", "published", "by", right=("version",))
        for one in found["versions"]:
            table.add_row(
                Text(str(one["version"]), style="strong"),
                Text("active" if one["active"] else "", style="good"),
                Text(" ".join(one["languages"])),
                Text(day(one["created_at"])),
                Text(one["created_by"], style="quiet"),
            )
        out.print(table)


@templates.command()
@click.argument("name")
@click.argument("file", type=click.File())
@as_json
@with_api
def create(api: ApiClient, name: str, file: IO[str], json_output: bool) -> None:
    """Make the template NAME from the definition in FILE (`-` is standard input).

    Its first version is used at once.
    """
    made = api.ask("POST", _PATH, {"name": name, "definition": _read(file)})
    _tell(made, f"{name} is made; version {made['active']} is in use.", json_output)


@templates.command()
@click.argument("name")
@click.argument("file", type=click.File())
@click.option("--activate", "activated", is_flag=True, help="Use it at once.")
@as_json
@with_api
def publish(api: ApiClient, name: str, file: IO[str], activated: bool, json_output: bool) -> None:
    """Add a version of the template NAME from the definition in FILE."""
    body = {"definition": _read(file), "activate": activated}
    made = api.ask("POST", f"{_path(name)}/versions", body)
    use = " and in use" if made["active"] else ""
    _tell(made, f"{name} {made['version']} is published{use}.", json_output)
    if not made["active"] and not json_output:
        say(f"Next: hermes templates activate {name} {made['version']}", "quiet")


@templates.command()
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@as_json
@with_api
def activate(api: ApiClient, name: str, version: int, json_output: bool) -> None:
    """Use VERSION of the template NAME from now on, a newer or an older one."""
    found = api.ask("POST", f"{_path(name)}/activate", {"version": version})
    _tell(found, f"{name} {version} is in use.", json_output)


@templates.command()
@click.argument("name")
@click.option("--set", "values", multiple=True, metavar="NAME=VALUE", help="A variable's value.")
@click.option("--language", help="Else the template's default.")
@click.option("--version", type=click.IntRange(1), help="Else the one in use.")
@click.option("--channel", "channels", multiple=True, help="Only these; else all.")
@as_json
@with_api
def render(
    api: ApiClient,
    name: str,
    values: tuple[str, ...],
    language: str | None,
    version: int | None,
    channels: tuple[str, ...],
    json_output: bool,
) -> None:
    """Show what the template NAME says; nothing is sent."""
    body: Json = {"variables": dict(map(_value, values))}
    asked = {"language": language, "version": version, "channels": channels or None}
    body |= {key: value for key, value in asked.items() if value is not None}
    found = api.ask("POST", f"{_path(name)}/render", body)
    if json_output:
        print_json(found)
        return
    out = console()
    said = f"{found['name']} {found['version']} in {found['language']}"
    out.print(Text(said, style="strong"))
    for channel, content in found["channels"].items():
        size = content.get("sms")
        note = ""
        if size:
            count = size["segments"]
            note = f"{count} segment{'s' if count > 1 else ''}, {size['encoding']}"
        out.print()
        out.print(Text.assemble((channel, "channel.strong"), "  ", (note, "quiet")))
        for part, text in _parts(content):
            out.print(Text.assemble(("  " + part + ": ", "quiet"), text), soft_wrap=True)


@templates.command()
@click.argument("name")
@asked_first
@as_json
@with_api
def remove(api: ApiClient, name: str, yes: bool, json_output: bool) -> None:
    """Let no new message use the template NAME. What was accepted is sent."""
    confirm_removal(name, f"Remove {name} with all its versions?", yes=yes)
    _tell(api.ask("DELETE", _path(name)), f"{name} is removed.", json_output)


def _columns(variables: Json) -> tuple[list[str], list[Json]]:
    return list(variables), list(variables.values())


def _variable(name: str, variable: Json) -> str:
    """`name`, `price: money`, and `?` behind what may be left out."""
    type_ = variable.get("type", "text")
    kind = "" if type_ == "text" else f": {type_}"
    optional = not variable.get("required", True) or variable.get("default") is not None
    return f"{name}{kind}{'?' if optional else ''}"


def _parts(wording: Json) -> list[tuple[str, str]]:
    """What there is to read in a wording or in rendered content."""
    parts = [
        (name, str(wording[name])) for name in ("subject", "text", "html") if wording.get(name)
    ]
    for channel, variant in (wording.get("variants") or {}).items():
        parts += [(f"{name} of {channel}", str(text)) for name, text in variant.items()]
    parts += [(f"data {key}", str(text)) for key, text in (wording.get("data") or {}).items()]
    provider = wording.get("whatsapp") or wording.get("template")
    if provider:
        said = ", ".join([provider["language"], *provider.get("parameters", ())])
        parts.append(("whatsapp template", f"{provider['name']} ({said})"))
    return parts


def _read(file: IO[str]) -> Any:
    try:
        return json.load(file)
    except (ValueError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file.name} is no JSON: {error}") from None


def _value(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals or not name:
        raise click.UsageError(f"{given!r} is no NAME=VALUE")
    return name, value


def _path(name: str) -> str:
    return f"{_PATH}/{quote(name, safe='')}"


def _tell(answer: Json, sentence: str, json_output: bool) -> None:
    if json_output:
        print_json(answer)
    else:
        console().print(Text(sentence), soft_wrap=True)
