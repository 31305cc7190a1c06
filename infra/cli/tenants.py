"""`hermes tenants`: who uses Hermes, and what is set for each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import click
from rich.text import Text

from infra.cli.administration import Administration, with_administration
from infra.cli.console import as_json, console, print_json
from infra.cli.merge_patch import merge_patch
from infra.cli.plain_table import day, plain_table

Json = dict[str, Any]
_PAGE = 500


@click.group()
def tenants() -> None:
    """Add tenants, and set what is theirs.

    \b
      hermes tenants add acme tier=dedicated
      hermes tenants set acme content.max_segments=3
      hermes tenants suspend acme

    A change is used by every process within a second, and is in `hermes audit`.
    """


@tenants.command("list")
@as_json
@with_administration
def list_tenants(admin: Administration, json_output: bool) -> None:
    """List the tenants with what is not the default for them."""
    found = list(every_tenant(admin))
    if json_output:
        print_json({"tenants": found})
        return
    if not found:
        console().print("No tenants. hermes tenants add ID makes one.", style="quiet")
        return
    table = plain_table("id", "tier", "status", "since", "settings")
    for tenant in found:
        changed = dict(flat(tenant["changed"]))
        shown = ", ".join(
            f"{key}={_shown(value)}"
            for key, value in changed.items()
            if key not in ("tier", "suspended")
        )
        table.add_row(
            Text(tenant["id"], style="strong"),
            tenant["settings"]["tier"],
            _status(tenant),
            day(tenant["created_at"]),
            Text(shown or "defaults", style="" if shown else "quiet"),
        )
    console().print(table)


@tenants.command()
@click.argument("tenant")
@as_json
@with_administration
def show(admin: Administration, tenant: str, json_output: bool) -> None:
    """Show every setting of TENANT; those that are not the default stand out."""
    found = admin.ask("GET", f"tenants/{tenant}")
    if json_output:
        print_json(found)
        return
    out = console()
    out.print(
        Text(found["id"], style="strong.strong"),
        _status(found),
        f"since {day(found['created_at'])}",
    )
    changed = dict(flat(found["changed"]))
    table = plain_table("setting", "value")
    for key, value in flat(found["settings"]):
        if key != "suspended":
            table.add_row(key, Text(_shown(value), style="strong" if key in changed else "quiet"))
    out.print(table)


@tenants.command()
@click.argument("tenant")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE...]")
@as_json
@with_administration
def add(admin: Administration, tenant: str, settings: tuple[str, ...], json_output: bool) -> None:
    """Add TENANT: a name of a-z, 0-9, - and _. `hermes keys create` makes its first key."""
    made = admin.ask("POST", "tenants", {**_patch(settings), "id": tenant})
    _tell(made, f"{tenant} is added. A key for it: hermes keys create {tenant}", json_output)


@tenants.command("set")
@click.argument("tenant")
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE...")
@as_json
@with_administration
def change(
    admin: Administration, tenant: str, settings: tuple[str, ...], json_output: bool
) -> None:
    """Change settings of TENANT; null is back to the default.

    \b
    The keys are those that `hermes tenants show` lists:
      hermes tenants set acme tier=custom content.max_segments=null
    """
    patch = _patch(settings)
    changed = admin.ask("PATCH", f"tenants/{tenant}", patch)
    now = dict(flat(changed["settings"]))
    shown = ", ".join(f"{key} is {_shown(now.get(key))}" for key, _ in flat(patch))
    _tell(changed, f"{tenant}: {shown}.", json_output)


@tenants.command()
@click.argument("tenant")
@as_json
@with_administration
def suspend(admin: Administration, tenant: str, json_output: bool) -> None:
    """Accept no more messages from TENANT. What was accepted before goes on."""
    changed = admin.ask("PATCH", f"tenants/{tenant}", {"suspended": True})
    _tell(changed, f"{tenant} is suspended: within a second nothing more is accepted.", json_output)


@tenants.command()
@click.argument("tenant")
@as_json
@with_administration
def resume(admin: Administration, tenant: str, json_output: bool) -> None:
    """Accept messages from TENANT again."""
    changed = admin.ask("PATCH", f"tenants/{tenant}", {"suspended": None})
    _tell(changed, f"{tenant} may send again.", json_output)


def every_tenant(admin: Administration) -> Iterator[Json]:
    """All tenants, by their ids."""
    cursor: str | None = None
    while True:
        page = admin.ask("GET", "tenants", limit=_PAGE, cursor=cursor)
        yield from page["tenants"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def flat(settings: Json, above: str = "") -> Iterator[tuple[str, Any]]:
    """Settings with their whole keys: `content.max_segments`."""
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{above}{key}.")
        else:
            yield above + key, value


def _patch(settings: tuple[str, ...]) -> Json:
    return merge_patch(settings, _value)


def _value(path: tuple[str, ...], text: str) -> Any:
    """What was written for a setting: text where it takes text, else JSON, else text."""
    kinds = _kinds(path)
    if text == "null":
        return None
    if kinds & {list, tuple, set, frozenset} and not text.startswith("["):
        return [item for item in text.split(",") if item]
    if kinds & {str}:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _kinds(path: tuple[str, ...]) -> set[Any]:
    """The types that a setting may have; none for one that is not there."""
    from domain.tenancy import Tenant

    kinds: set[Any] = {Tenant}
    for name in path:
        hints = [get_type_hints(kind) for kind in kinds if hasattr(kind, "__struct_fields__")]
        kinds = {kind for hint in hints if name in hint for kind in _alternatives(hint[name])}
    return {get_origin(kind) or kind for kind in kinds}


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _status(tenant: Json) -> Text:
    if tenant["settings"]["suspended"]:
        return Text("suspended", style="bad")
    return Text("active", style="good")


def _shown(value: Any) -> str:
    if value in (None, [], {}):
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _tell(tenant: Json, sentence: str, json_output: bool) -> None:
    if json_output:
        print_json(tenant)
    else:
        console().print(Text(sentence), soft_wrap=True)
