"""`hermes suppressions`: whom not to write to."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import click
from rich.table import Table
from rich.text import Text

from domain.channels import CHANNELS
from domain.message import Category
from domain.suppression import RULES, Reason
from infra.cli.administration import operators_api
from infra.cli.client import ApiClient, default_base, key_of
from infra.cli.console import as_json, console, print_json, say
from infra.cli.plain_table import day, plain_table
from infra.cli.removal import asked_first, confirm_removal
from infra.local.demo_keys import DEMO_TENANTS

Json = dict[str, Any]
Command = TypeVar("Command", bound=Callable[..., Any])

_CATEGORIES = tuple(category.value for category in Category)
_WISHES = {
    reason.value: RULES[reason].meaning
    for reason in (Reason.STOP, Reason.UNSUBSCRIBE, Reason.COMPLAINT)
}
_UPLOADED_WITHIN = 600.0
_LOOKED_EVERY = 0.5
_PAGE = 500


class Lists:
    """A tenant's list with its API key, or that of all tenants with the operator's."""

    def __init__(self, base: str, tenant: str | None, *, everybody: bool) -> None:
        if everybody:
            self._api: ApiClient = operators_api(base)
            self._root = "suppressions"
        else:
            self._api = ApiClient(base, key_of(tenant))
            self._root = "/v1/suppressions"

    def ask(self, method: str, path: str = "", body: Any = None, **query: Any) -> Json:
        """An operation at a path below the resource. Raises ApiError."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._api.ask(method, self._root + path + self._query(given), body)

    def upload(self, file: bytes, **query: Any) -> Json:
        """Begin an import. Raises ApiError."""
        path = f"{self._root}/imports{self._query(query)}"
        # The operator's client knows no media types but JSON: its ask is another one.
        return ApiClient.ask(
            self._api,
            "POST",
            path if path.startswith("/") else f"/admin/v1/{path}",
            file,
            patience=_UPLOADED_WITHIN,
            media_type="text/csv",
        )

    def close(self) -> None:
        """Close the connection."""
        self._api.close()

    @staticmethod
    def _query(given: Json) -> str:
        return f"?{urlencode(given, doseq=True)}" if given else ""


def with_lists(command: Command) -> Command:
    """Give a command the options that say whose list is meant, as the parameter `lists`."""

    @click.option("--api", "base", metavar="URL", help="Where the API is [HERMES_API_URL].")
    @click.option(
        "--tenant",
        metavar="NAME",
        help=f"Whose demo key to take: {', '.join(DEMO_TENANTS)}; not with HERMES_API_KEY.",
    )
    @click.option(
        "--everybody", is_flag=True, help="The operator's list, which holds for all tenants."
    )
    def connected(
        *args: Any, base: str | None, tenant: str | None, everybody: bool, **options: Any
    ) -> Any:
        if everybody and tenant is not None:
            raise click.UsageError("--everybody is no --tenant")
        lists = Lists(base or default_base(), tenant, everybody=everybody)
        try:
            return command(*args, lists=lists, **options)
        finally:
            lists.close()

    connected.__name__ = command.__name__
    connected.__doc__ = command.__doc__
    connected.__click_params__ = [  # type: ignore[attr-defined]
        *getattr(command, "__click_params__", []),
        *connected.__click_params__,  # type: ignore[attr-defined]
    ]
    return connected  # type: ignore[return-value]


@click.group()
def suppressions() -> None:
    """Whom not to write to: opt-outs, bounces, complaints, and whom you put on the list.

    \b
      hermes suppressions check sms=+4520123456
      hermes suppressions add sms=+4520123456 --category marketing
      hermes suppressions import stopped.csv --channel sms
      hermes suppressions list

    Addresses are kept as keyed hashes only, so a list shows them masked.
    """


@suppressions.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@as_json
@with_lists
def list_suppressions(lists: Lists, limit: int, json_output: bool) -> None:
    """List entries, newest first, without what was imported."""
    found: list[Json] = []
    cursor = None
    while len(found) < limit:
        page = lists.ask("GET", limit=min(limit - len(found), _PAGE), cursor=cursor)
        found += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    if json_output:
        print_json({"data": found, "next_cursor": cursor})
        return
    if not found:
        console().print("Nobody, but for what was imported.", style="quiet")
        return
    console().print(_table(found))
    if cursor is not None:
        say(f"There are more than these {len(found)}: --limit shows them.", "quiet")


@suppressions.command()
@click.argument("address", metavar="CHANNEL=ADDRESS")
@as_json
@with_lists
def check(lists: Lists, address: str, json_output: bool) -> None:
    """Say what is held against an address. Exit code 1 when it is blocked for something."""
    channel, plain = _address(address)
    found = lists.ask("POST", "/lookup", {"channel": channel, "address": plain})
    if json_output:
        print_json(found)
    elif not found["blocked"]:
        console().print(Text(f"{plain} is free.", style="good"))
    else:
        blocked = _all_or(found["blocked"])
        console().print(Text(f"{plain} gets {blocked}.", style="bad"))
        if found["by_operator"]:
            console().print("The operator has blocked it for all tenants.")
        if found["entries"]:
            console().print(_against(found["entries"]))
            console().print(Text(found["id"], style="quiet"))
    if found["blocked"]:
        sys.exit(1)


@suppressions.command()
@click.argument("address", metavar="CHANNEL=ADDRESS")
@click.option(
    "--category", "categories", multiple=True, type=click.Choice(_CATEGORIES),
    help="What is blocked; several. Without, everything.",
)  # fmt: skip
@as_json
@with_lists
def add(lists: Lists, address: str, categories: tuple[str, ...], json_output: bool) -> None:
    """Put an address on the list. To block less than before, remove it first."""
    channel, plain = _address(address)
    body: Json = {"channel": channel, "address": plain}
    if categories:
        body["categories"] = list(categories)
    entry = lists.ask("POST", "", body)
    if json_output:
        print_json(entry)
    else:
        console().print(f"{plain} gets {_all_or(entry['categories'])}, from a second from now on.")


@suppressions.command()
@click.argument("address", metavar="CHANNEL=ADDRESS|ID")
@asked_first
@as_json
@with_lists
def remove(lists: Lists, address: str, yes: bool, json_output: bool) -> None:
    """Take an address off the list, whatever put it there.

    Whoever wrote STOP, unsubscribed or complained has to agree first: you answer for that.
    """
    entry, shown = address, address
    doubts = "The person may have asked to be left alone. "
    if not address.startswith("sup_"):
        channel, shown = _address(address)
        found = lists.ask("POST", "/lookup", {"channel": channel, "address": shown})
        if not found["entries"]:
            by = ": it is the operator who has blocked it" if found["by_operator"] else ""
            raise click.ClickException(f"{shown} is not on the list{by}.")
        entry = found["id"]
        doubts = _wishes([entry["reason"] for entry in found["entries"]])
    confirm_removal(f"{doubts}{shown}", f"{doubts}Take {shown} off the list?", yes=yes)
    removed = lists.ask("DELETE", f"/{quote(entry, safe='')}")
    if json_output:
        print_json(removed)
    else:
        console().print(f"{shown} is off the list ({', '.join(removed['reasons'])}).")


@suppressions.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--channel", type=click.Choice(list(CHANNELS)), required=True)
@click.option(
    "--category", type=click.Choice(_CATEGORIES), help="What is blocked. Without, everything."
)
@as_json
@with_lists
def import_list(
    lists: Lists, file: Path, channel: str, category: str | None, json_output: bool
) -> None:
    """Put every address of the CSV file FILE on the list: the first cell of each line.

    Ten million take about two minutes. The same file may be imported again. What is
    blocked already stays blocked.
    """
    query = {"channel": channel, **({} if category is None else {"category": category})}
    job = lists.upload(file.read_bytes(), **query)
    shown = sys.stderr.isatty() and not json_output
    while job["status"] == "running":
        if shown:
            sys.stderr.write(f"\r{job['lines']:,} read, {job['added']:,} new ")
            sys.stderr.flush()
        time.sleep(_LOOKED_EVERY)
        job = lists.ask("GET", f"/imports/{job['id']}")
    if shown:
        sys.stderr.write("\r\x1b[K")
    if json_output:
        print_json(job)
    else:
        console().print(
            f"{job['lines']:,} addresses, {job['added']:,} of them new; "
            f"{job['refused']:,} lines were refused."
        )
        for fault in job["faults"][:10]:
            console().print(Text(f"  line {fault['line']}: {fault['code']}", style="warn"))
        if job["refused"] > 10:
            say("--json shows the first hundred of them.", "quiet")
    if job["status"] == "done" and not job["lines"]:
        raise click.ClickException(f"No line of {file} is an address: nobody was put on the list.")
    if job["status"] == "failed":
        raise click.ClickException("The import broke off; what was written stays. See the logs.")


def _wishes(reasons: list[str]) -> str:
    """What the person wished who is to be written to again, as a sentence; empty for nothing."""
    said = " and ".join(f"{_WISHES[reason]} ({reason})" for reason in reasons if reason in _WISHES)
    return f"{said[0].upper()}{said[1:]}. " if said else ""


def _against(entries: list[Json]) -> Table:
    """What is held against one address."""
    table = plain_table("address", "reason", "blocks", "since", "source")
    for entry in entries:
        table.add_row(
            entry["address"] or "forgotten",
            entry["reason"],
            _blocks(entry),
            day(entry["created_at"]),
            Text(entry["source"] or "", style="quiet"),
        )
    return table


def _table(entries: list[Json]) -> Table:
    """A list. The source, which is long, goes below the address, to leave both whole."""
    table = plain_table("id", "address", "reason", "blocks", "since", wrapped="address")
    for entry in entries:
        address, source = entry["address"] or "forgotten", entry["source"]
        table.add_row(
            Text(entry["id"], style="quiet"),
            Text.assemble(
                (f"{entry['channel']} ", "channel"),
                address,
                (f"\n{source}" if source else "", "quiet"),
            ),
            entry["reason"],
            _blocks(entry),
            day(entry["created_at"]),
        )
    return table


def _blocks(entry: Json) -> str:
    """Which categories, in few letters."""
    blocked = entry["categories"]
    left = [category for category in _CATEGORIES if category not in blocked]
    if not left:
        return "everything"
    return f"all but {left[0]}" if len(left) == 1 else ", ".join(blocked)


def _all_or(categories: list[str]) -> str:
    return "nothing" if len(categories) == len(_CATEGORIES) else f"no {' or '.join(categories)}"


def _address(text: str) -> tuple[str, str]:
    channel, equals, address = text.partition("=")
    if not equals or channel not in CHANNELS or not address:
        known = ", ".join(CHANNELS)
        raise click.UsageError(f"{text!r} is no CHANNEL=ADDRESS with one of {known}")
    return channel, address
