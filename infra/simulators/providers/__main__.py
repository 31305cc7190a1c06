"""The command line of the provider sandbox."""

import argparse
from pathlib import Path
from typing import Any

import msgspec

from infra.simulators.options import SWITCH, Kind
from infra.simulators.process import run
from infra.simulators.providers import (
    FCM,
    OPTIONS,
    SENDGRID,
    TWILIO,
    WHATSAPP,
    Accounts,
    Options,
    Ports,
    ProviderSandbox,
)
from infra.simulators.providers.behaviours import DELIVERED, FCM_ACCEPTED, Behaviour

_TABLES = (
    ("twilio: the last four digits of To", "…{}", TWILIO, DELIVERED),
    ("whatsapp: the last four digits of to", "…{}", WHATSAPP, DELIVERED),
    ("sendgrid: what the recipient's address begins with", "{}…", SENDGRID, DELIVERED),
    ("fcm: what the registration token begins with", "{}…", FCM, FCM_ACCEPTED),
)
_CONTROL = """\
control port (?provider=NAME for one of them only):
  GET   /stats                   counters of each provider
  GET   /requests                the newest 200 requests (limit= up to 10,000; status=, ended=)
  GET   /messages?to=…           the messages accepted
  GET   /duplicates              texts that the same recipient was sent more than once
  GET   /callbacks?state=…       the callbacks and how each attempt was answered
  GET   /options                 the options as they are
  PATCH /options                 change some: {"latency_ms": 100, "fail_rate": 0.1}
  GET   /accounts                credentials, keys and webhooks, to configure adapters with
  POST  /accounts                {"provider": "sendgrid", "webhook": "http://…"}: change the first
                                 account, or with its identity another, or a new one
  POST  /inbound                 somebody writes: {"provider": "twilio", "from", "to", "text"}
  POST  /verify                  {"provider": "whatsapp"}: the GET that proves a webhook
  POST  /reset                   forget all that was seen, and every callback not yet delivered"""


def parser() -> argparse.ArgumentParser:
    """The flags: one for each of OPTIONS, and what only the start can say."""
    flags = argparse.ArgumentParser(
        prog="python -m infra.simulators.providers",
        description="Stand-ins of Twilio, SendGrid, FCM and WhatsApp to develop and test against. "
        "Every option but the\nfirst group can be changed while they run: PATCH /options on the "
        "control port, with _ for -.",
        epilog="the recipient chooses what happens:\n"
        + "\n".join(_table(*table) for table in _TABLES)
        + f"\n\n{_CONTROL}",
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, max_help_position=34, width=100
        ),
    )
    places = flags.add_argument_group("ports and accounts")
    places.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    for name in Ports.__struct_fields__:
        default = getattr(Ports(), name)
        places.add_argument(
            f"--{name}-port", type=int, default=default, metavar="N", help="default: %(default)s"
        )
    places.add_argument(
        "--accounts", type=Path, metavar="FILE", help="keep accounts and their keys in it"
    )
    groups: dict[str, Any] = {}
    for name, option in OPTIONS.items():
        if option.group not in groups:
            groups[option.group] = flags.add_argument_group(option.group)
        default = option.kind.show(getattr(Options(), name))
        flag = "--" + name.replace("_", "-")
        if option.kind is SWITCH:
            groups[option.group].add_argument(
                flag, action=argparse.BooleanOptionalAction, default=default, help=option.meaning
            )
            continue
        shown = f"{default:g}" if isinstance(default, float) else default or "none"
        groups[option.group].add_argument(
            flag,
            type=_reader(option.kind),
            default=getattr(Options(), name),
            metavar=option.kind.metavar,
            help=f"{option.meaning} (default: {shown})",
        )
    return flags


def _table(title: str, form: str, table: dict[str, Behaviour], otherwise: Behaviour) -> str:
    lines = [f"  {form.format(key):18}{behaviour.description}" for key, behaviour in table.items()]
    return "\n".join([f"{title}", *lines, f"  {'other':18}{otherwise.description}"])


def _reader(kind: Kind) -> Any:
    def read(text: str) -> Any:
        try:
            return kind.read_text(text)
        except (ValueError, TypeError, AttributeError):
            raise argparse.ArgumentTypeError(f"expected {kind.right}, not {text}") from None

    return read


def main() -> None:
    """Start the providers that the arguments describe; they end on SIGTERM or SIGINT."""
    flags = parser()
    arguments = flags.parse_args()
    options = msgspec.structs.replace(
        Options(), **{name: getattr(arguments, name) for name in OPTIONS}
    )
    ports = Ports(**{name: getattr(arguments, f"{name}_port") for name in Ports.__struct_fields__})
    try:
        accounts = Accounts(arguments.accounts)
    except (OSError, ValueError) as error:
        flags.error(f"--accounts: {error}")

    async def start() -> ProviderSandbox:
        sandbox = ProviderSandbox(options, accounts)
        await sandbox.start(arguments.host, ports)
        return sandbox

    run(start)


if __name__ == "__main__":
    main()
