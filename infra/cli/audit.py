"""`hermes audit`: who changed what, and when."""

from __future__ import annotations

import json
import re
from typing import Any

import click
from rich.text import Text

from infra.cli.administration import Administration, with_administration
from infra.cli.console import as_json, console, print_json, say
from infra.cli.plain_table import day, plain_table

Json = dict[str, Any]
_LONGEST = 60
_MOMENT = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)$")


@click.command()
@click.option("--tenant", help="Only what concerns this tenant.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--cursor", help="Go on where the page before ended.")
@as_json
@with_administration
def audit(
    admin: Administration, tenant: str | None, limit: int, cursor: str | None, json_output: bool
) -> None:
    """Show the changes by operators, and by tenants of their own settings, newest first."""
    page = admin.ask("GET", "audit", tenant=tenant, limit=limit, cursor=cursor)
    if json_output:
        print_json(page)
        return
    if not page["entries"]:
        console().print("No changes.", style="quiet")
        return
    table = plain_table("when", "who", "tenant", "what")
    for line in page["entries"]:
        subject = "" if line["subject"] == line["tenant"] else f" {line['subject']}"
        how = _how(line["detail"])
        what = Text.assemble((line["action"], "strong"), subject, "\n" if how else "", how)
        table.add_row(day(line["at"]), Text(line["actor"]), Text(line["tenant"] or "all"), what)
    console().print(table)
    if page["next_cursor"]:
        say(f"More: hermes audit --cursor {page['next_cursor']}", "quiet")


def _how(detail: Json) -> Text:
    """What changed: `from → to` for each key, or what was set."""
    before, after = detail.get("before"), detail.get("after")
    if not isinstance(before, dict) or not isinstance(after, dict):
        said = after if isinstance(after, dict) else detail
        told = [f"{key} {_short(value)}" for key, value in said.items() if value]
    else:
        changes = {
            key: (_short(before.get(key)), _short(after.get(key))) for key in {**before, **after}
        }
        told = [f"{key} {old} → {new}" for key, (old, new) in changes.items() if old != new]
    return Text(", ".join(told), style="quiet")


def _short(value: Any) -> str:
    if value in (None, "", [], {}):
        return "none"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = " ".join(value)
    if isinstance(value, str) and _MOMENT.match(value):
        return day(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
