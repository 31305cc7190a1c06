"""`hermes send`: one message from the command line."""

from __future__ import annotations

from typing import Any, Final

import click

from domain.channels.plan import default_draft
from infra.cli.client import ApiClient, with_api
from infra.cli.console import as_json, console, print_json
from infra.cli.durations import Duration
from infra.cli.messages import watch as watch_message
from infra.cli.pairs import Pair

_PATIENCE: Final = 60.0
"""How long a message may wait for its time, or for quiet hours, before `--watch` leaves it."""


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
                step["timeout"] = Duration().convert(timeout, param, ctx)
            steps.append(step)
        return steps


class _ProviderTemplate(click.ParamType):
    """NAME:LANGUAGE."""

    name = "name:language"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        name, _, language = str(value).rpartition(":")
        if not (name and language):
            self.fail(f"{value!r} is not NAME:LANGUAGE, such as order_ready:da", param, ctx)
        return {"name": name, "language": language}


@click.command()
@click.option(
    "--to",
    "recipients",
    type=Pair(),
    multiple=True,
    required=True,
    metavar="CHANNEL=ADDRESS",
    help="sms=+4520123456, email=anna@example.com; once for each channel.",
)
@click.option("--text", help="The text, for every channel.")
@click.option("--template", metavar="NAME", help="One of your templates, instead of a text.")
@click.option(
    "--set", "values", type=Pair(), multiple=True, metavar="NAME=VALUE",
    help="A value for one of its variables.",
)  # fmt: skip
@click.option("--language", help="In which language, such as da-DK [the template's default].")
@click.option("--subject", help="The email's subject.")
@click.option("--html", help="The email's HTML part.")
@click.option(
    "--provider-template",
    type=_ProviderTemplate(),
    help="A template that WhatsApp keeps, in the place of the text: order_ready:da.",
)
@click.option(
    "--parameter", "parameters", multiple=True, help="What fills its gaps, in their order."
)
@click.option(
    "--data", type=Pair(), multiple=True, metavar="NAME=VALUE", help="For the app, with a push."
)
@click.option(
    "--sender",
    "senders",
    type=Pair(),
    multiple=True,
    metavar="CHANNEL=SENDER",
    help="Who the recipient sees: sms=ACME, email=shop@example.com.",
)
@click.option(
    "--plan",
    type=_Plan(),
    help="Channels in order, with providers and timeouts: sms@twilio:30s,email [all, in turn].",
)
@click.option("--ttl", type=Duration(), help="When to give up: 90, 30m, 2h [by category].")
@click.option("--send-at", metavar="TIME", help="Not before: 2026-01-31T09:00:00+01:00.")
@click.option("--category", type=click.Choice(["otp", "transactional", "marketing"]))
@click.option(
    "--policy",
    type=click.Choice(["at_least_once", "at_most_once"]),
    help="What to do when nobody can know whether an attempt was sent.",
)
@click.option("--callback", metavar="URL", help="Where to tell of the message's end.")
@click.option("--metadata", type=Pair(), multiple=True, metavar="NAME=VALUE")
@click.option("--idempotency-key", help="Sending again with the same key sends nothing again.")
@click.option("--watch", is_flag=True, help="Show the timeline as it happens.")
@as_json
@with_api
def send(
    api: ApiClient,
    recipients: tuple[tuple[str, str], ...],
    text: str | None,
    template: str | None,
    values: tuple[tuple[str, str], ...],
    language: str | None,
    subject: str | None,
    html: str | None,
    provider_template: dict[str, Any] | None,
    parameters: tuple[str, ...],
    data: tuple[tuple[str, str], ...],
    senders: tuple[tuple[str, str], ...],
    plan: list[dict[str, Any]] | None,
    ttl: float | None,
    send_at: str | None,
    category: str | None,
    policy: str | None,
    callback: str | None,
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
    if template is None and (values or language):
        raise click.UsageError("--set and --language go with a --template: name one")
    if text is None and provider_template is None and template is None:
        raise click.UsageError("Missing option '--text', or '--template'.")
    if template is not None and (text or subject or html or data or provider_template):
        raise click.UsageError("a --template says it all: leave the content's options out")
    if parameters and provider_template is None:
        raise click.UsageError("--parameter fills a --provider-template: name one")
    if provider_template is not None:
        provider_template = {**provider_template, "parameters": list(parameters)}
    optional = {
        "plan": _with_senders(plan, dict(recipients), dict(senders)),
        "ttl": ttl,
        "send_at": send_at,
        "category": category,
        "delivery_policy": policy,
        "status_callback": callback,
        "metadata": dict(metadata) or None,
    }
    content = {
        # What is sent where a channel has no template.
        "text": text if text is not None else "",
        "subject": subject,
        "html": html,
        "template": provider_template,
        "data": dict(data) or None,
    }
    said: dict[str, Any] = {
        "content": {name: value for name, value in content.items() if value is not None}
    }
    if template is not None:
        said = {"template": {"name": template, "variables": dict(values)}}
        if language is not None:
            said["template"]["language"] = language
    message = {
        "to": dict(recipients),
        **said,
        **{name: value for name, value in optional.items() if value is not None},
    }
    accepted = api.send(message, idempotency_key=idempotency_key)
    if watch:
        watch_message(api, accepted["id"], json_output, patience=_PATIENCE)
    elif json_output:
        print_json(accepted)
    else:
        out = console()
        out.print(f"{accepted['id']}  {accepted['status']}", soft_wrap=True)
        out.print(f"hermes messages show {accepted['id']} --follow", style="quiet", soft_wrap=True)


def _with_senders(
    plan: list[dict[str, Any]] | None, recipients: dict[str, str], senders: dict[str, str]
) -> list[dict[str, Any]] | None:
    """The plan with a sender for each step of a channel that has one; without a plan, the one that
    the API would take."""
    if not senders:
        return plan
    steps = plan or [{"channel": step.channel} for step in default_draft(recipients)]
    unused = senders.keys() - {step["channel"] for step in steps}
    if unused:
        raise click.UsageError(f"--sender {min(unused)}=…: no step takes that channel")
    return [
        {**step, "sender": senders[step["channel"]]} if step["channel"] in senders else step
        for step in steps
    ]
