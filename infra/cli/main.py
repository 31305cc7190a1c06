"""The `hermes` command's front door."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys

import click

# Loaded when first used: `hermes send` need not wait for what only `hermes bench` imports.
_COMMANDS = {
    "up": "infra.cli.up",
    "send": "infra.cli.send",
    "messages": "infra.cli.messages",
    "tenants": "infra.cli.tenants",
    "keys": "infra.cli.keys",
    "audit": "infra.cli.audit",
    "senders": "infra.cli.senders",
    "routes": "infra.cli.routes",
    "route": "infra.cli.routes",
    "recipients": "infra.cli.recipients",
    "suppressions": "infra.cli.suppressions",
    "templates": "infra.cli.templates",
    "callbacks": "infra.cli.callbacks",
    "carriers": "infra.cli.carriers",
    "adapters": "infra.cli.adapters",
    "prices": "infra.cli.prices",
    "accounts": "infra.cli.accounts",
    "usage": "infra.cli.usage",
    "bench": "infra.cli.bench",
    "doctor": "infra.cli.doctor",
}


class _LazyGroup(click.Group):
    """A group whose command NAME is the attribute NAME of its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, module in _COMMANDS.items() if importlib.util.find_spec(module)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        command = getattr(importlib.import_module(_COMMANDS[name]), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(
    importlib.metadata.version("hermes-broker"), prog_name="hermes", message="%(prog)s %(version)s"
)
def hermes() -> None:
    """Hermes delivers a message by whatever channel gets through, and accounts for it.

    \b
    First steps:
      hermes up                                   start everything on this machine
      hermes send --to sms=+4520123456 --text Hi --watch
      hermes messages list

    The API is at --api or HERMES_API_URL, else where the settings put it on this machine; the key
    is HERMES_API_KEY, else the demo tenant's from .hermes/demo-keys.json.

    Exit codes: 0 it worked, 1 it failed, 2 the command line is wrong.
    """


def main() -> None:
    """Run the command line; never returns."""
    try:
        hermes(prog_name="hermes")
    except BrokenPipeError:  # `hermes messages list | head`
        sys.stderr.close()
        sys.exit(1)


if __name__ == "__main__":
    main()
