"""`hermes keys`: API keys, straight in the message log's database."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.table import Table
from rich.text import Text

from infra.cli.client import load_settings
from infra.cli.console import as_json, console, print_json, say
from infra.local.demo_keys import DEMO_TENANTS, read_demo_keys

if TYPE_CHECKING:
    from adapters.store.tenants import ApiKey


_COLUMNS = ("id", "tenant", "note", "created_at", "revoked_at")


@click.group()
def keys() -> None:
    """Create, list and revoke API keys.

    Works on the database of the settings' data directory, not through the API.
    """


@keys.command()
@click.argument("tenant")
@click.option("--note", default="", help="What the key is for; shown in the list.")
@click.option("--new-tenant", is_flag=True, help="Make the tenant too, should it not exist.")
@as_json
def create(tenant: str, note: str, new_tenant: bool, json_output: bool) -> None:
    """Create a key for TENANT. It is shown once; only its hash is stored."""
    from adapters.store.tenants import UnknownTenant, create_key, create_tenant

    database = _database()
    if new_tenant:
        create_tenant(database, tenant)
    try:
        key = create_key(database, tenant, note)
    except UnknownTenant:
        raise click.ClickException(
            f"There is no tenant {tenant}; --new-tenant makes one."
        ) from None
    if json_output:
        print_json({"tenant": tenant, "key": key, "note": note})
        return
    click.echo(key)
    say("Shown this once. Use it as HERMES_API_KEY, or as a bearer token.", "quiet")


@keys.command()
@click.argument("tenant", type=click.Choice(DEMO_TENANTS), default=DEMO_TENANTS[0])
def demo(tenant: str) -> None:
    """Print the key that `hermes up` made for a demo TENANT, for use in scripts."""
    try:
        made = read_demo_keys(load_settings().data_dir)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    if tenant not in made:
        raise click.ClickException(f"There is no demo key for {tenant} yet; `hermes up` makes it.")
    click.echo(made[tenant])


@keys.command("webhook-secret")
@click.argument("tenant")
def show_webhook_secret(tenant: str) -> None:
    """Print the secret that signs TENANT's status callbacks (Standard Webhooks)."""
    from adapters.store.tenants import UnknownTenant, webhook_secret

    try:
        click.echo(webhook_secret(_database(), tenant))
    except UnknownTenant:
        raise click.ClickException(f"There is no tenant {tenant}.") from None


@keys.command("list")
@click.option("--tenant", help="Only this tenant's.")
@as_json
def list_keys(tenant: str | None, json_output: bool) -> None:
    """List the keys, without the keys themselves."""
    from adapters.store import tenants

    found = tenants.list_keys(_database(), tenant)
    if json_output:
        print_json(
            [{name: msgspec.to_builtins(getattr(key, name)) for name in _COLUMNS} for key in found]
        )
        return
    out = console()
    if not found:
        out.print("No keys.", style="quiet")
        return
    table = Table(box=None, pad_edge=False, header_style="quiet")
    for name in _COLUMNS:
        table.add_column(name.removesuffix("_at"), no_wrap=name != "note")
    for key in found:
        table.add_row(*_row(key), style="quiet" if key.revoked_at else "")
    out.print(table)


@keys.command()
@click.argument("key_id")
@as_json
def revoke(key_id: str, json_output: bool) -> None:
    """Revoke the key with the id KEY_ID, as `hermes keys list` shows it."""
    from adapters.store.tenants import REFRESH, UnknownKey, revoke_key

    try:
        revoke_key(_database(), key_id)
    except UnknownKey:
        raise click.ClickException(f"There is no key with the id {key_id}.") from None
    if json_output:
        print_json({"id": key_id, "revoked": True})
    else:
        click.echo(f"{key_id} is revoked; every process knows within {REFRESH:g} s.")


def _database() -> Path:
    path = load_settings().message_log
    if not path.exists():
        raise click.ClickException(f"There is no database yet at {path}; `hermes up` makes it.")
    return path


def _row(key: ApiKey) -> tuple[Text, ...]:
    times = [f"{at.astimezone():%d %b %Y %H:%M}" if at else "" for at in _times(key)]
    return (Text(key.id), Text(key.tenant), Text(key.note), *map(Text, times))


def _times(key: ApiKey) -> tuple[datetime | None, datetime | None]:
    return key.created_at, key.revoked_at
