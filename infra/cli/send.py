"""`hermes send`: one message from the command line."""

from __future__ import annotations

import re
from typing import Any

import click

from infra.cli.client import ApiClient, with_api
from infra.cli.console import as_json, console, print_json
from infra.cli.messages import watch as watch_message

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class _Duration(click.ParamType):
    """A number of seconds, or `30s`, `5m`, `2h`, `1d`."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).strip())
        if match is None or match[2] not in _UNITS:
            self.fail(f"{value!r} is not a duration such as 30, 30s, 5m, 2h or 1d", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


class _Pair(click.ParamType):
    """NAME=VALUE."""

    name = "name=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, separator, rest = str(value).partition("=")
        if not (name and separator and rest):
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        return name, rest


class _Plan(click.ParamType):
    """Steps in order: `sms:30,email`; the number is the step's timeout in seconds."""

    name = "plan"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[dict[str, Any]]:
        if isinstance(value, list):
            return value
        steps: list[dict[str, Any]] = []
        for part in str(value).split(","):
            named, separator, timeout = part.strip().partition(":")
            channel, at, provider = named.partition("@")
            if not channel or (separator and not timeout) or (at and not provider):
                self.fail(f"{value!r} is not a plan such as sms@twilio:30,email", param, ctx)
            step: dict[str, Any] = {"channel": channel}
            if provider:
                step["provider"] = provider
            if timeout:
                step["timeout"] = _Duration().convert(timeout, param, ctx)
            steps.append(step)
        return steps


@click.command()
@click.option(
    "--to",
    "recipients",
    type=_Pair(),
    multiple=True,
    required=True,
    metavar="CHANNEL=ADDRESS",
    help="sms=+4520123456, email=anna@example.com; once for each channel.",
)
@click.option("--text", required=True, help="The text, for every channel.")
@click.option("--subject", help="The email's subject.")
@click.option("--html", help="The email's HTML part.")
@click.option(
    "--plan",
    type=_Plan(),
    help="Channels in order, with providers and timeouts: sms@twilio:30s,email [all, in turn].",
)
@click.option("--ttl", type=_Duration(), help="When to give up: 90, 30m, 2h [by category].")
@click.option("--send-at", metavar="TIME", help="Not before: 2026-01-31T09:00:00+01:00.")
@click.option("--category", type=click.Choice(["otp", "transactional", "marketing"]))
@click.option(
    "--policy",
    type=click.Choice(["at_least_once", "at_most_once"]),
    help="What to do when nobody can know whether an attempt was sent.",
)
@click.option("--metadata", type=_Pair(), multiple=True, metavar="NAME=VALUE")
@click.option("--idempotency-key", help="Sending again with the same key sends nothing again.")
@click.option("--watch", is_flag=True, help="Show the timeline as it happens.")
@as_json
@with_api
def send(
    api: ApiClient,
    recipients: tuple[tuple[str, str], ...],
    text: str,
    subject: str | None,
    html: str | None,
    plan: list[dict[str, Any]] | None,
    ttl: float | None,
    send_at: str | None,
    category: str | None,
    policy: str | None,
    metadata: tuple[tuple[str, str], ...],
    idempotency_key: str | None,
    watch: bool,
    json_output: bool,
) -> None:
    """Send a message.

    \b
    hermes send --to sms=+4520123456 --text "Your table is ready" --watch
    hermes send --to sms=+4520109902 --to email=anna@example.com \\
                --text "Your code is 1234" --plan sms:5,email --watch
    """
    optional = {
        "plan": plan,
        "ttl": ttl,
        "send_at": send_at,
        "category": category,
        "delivery_policy": policy,
        "metadata": dict(metadata) or None,
    }
    content = {"text": text, "subject": subject, "html": html}
    message = {
        "to": dict(recipients),
        "content": {name: value for name, value in content.items() if value is not None},
        **{name: value for name, value in optional.items() if value is not None},
    }
    accepted = api.send(message, idempotency_key=idempotency_key)
    if watch:
        watch_message(api, accepted["id"], json_output)
    elif json_output:
        print_json(accepted)
    else:
        out = console()
        out.print(f"{accepted['id']}  {accepted['status']}", soft_wrap=True)
        out.print(f"hermes messages show {accepted['id']} --follow", style="quiet", soft_wrap=True)
