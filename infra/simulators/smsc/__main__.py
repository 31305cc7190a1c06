"""The command line of the simulator."""

import argparse
import ssl
from typing import Any

import msgspec

from infra.simulators.options import SWITCH, Kind
from infra.simulators.process import run
from infra.simulators.smsc import BEHAVIOURS, DELIVERED, OPTIONS, Options, SmscSimulator

_CONTROL = """\
control port:
  GET   /stats                   counters, every bind, submissions by the second
  GET   /submits?destination=…   what was submitted, the newest 1,000 (limit= up to 10,000)
  GET   /accepted?destination=…  by destination and text the message ids, and when their
                                 receipts were sent
  GET   /duplicates              texts that the same destination was sent more than once
  GET   /options                 the options as they are
  PATCH /options                 change some: {"rate": 200, "early_receipts": 0.33}
  POST  /mo                      to the ESME: {"source", "destination", "text", "parts": udh8, udh16
                                 or sar, "order": [2, 1], "repeat": 1, "reference", "account"}
  POST  /reset                   forget all that was seen, and every receipt not yet sent
  POST  /links/kill              cut every connection; ?bind=N one of them"""


def parser() -> argparse.ArgumentParser:
    """The flags: one for each of OPTIONS, and what only the start can say."""
    table = "\n".join(f"  …{digits}  {b.description}" for digits, b in BEHAVIOURS.items())
    flags = argparse.ArgumentParser(
        prog="python -m infra.simulators.smsc",
        description="An SMSC to develop and test against. Every option but those of the first two "
        "groups can be changed\nwhile it runs: PATCH /options on the control port, with _ for -.",
        epilog=f"the last four digits of the destination choose what happens:\n{table}\n"
        f"  other  {DELIVERED.description}\n\n{_CONTROL}",
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, max_help_position=34, width=100
        ),
    )
    defaults = Options()
    places = flags.add_argument_group("ports and accounts")
    add = places.add_argument
    add("--host", default="127.0.0.1", help="default: %(default)s")
    add("--port", type=int, default=2775, help="for binds (default: %(default)s)")
    add("--control-port", type=int, default=2776, help="for HTTP (default: %(default)s)")
    add("--system-id", default=defaults.system_id, help="default: %(default)s")
    add("--password", default=defaults.password, help="default: %(default)s")
    add(
        "--account",
        type=_account,
        action="append",
        default=[],
        metavar="SYSTEM_ID:PASSWORD",
        help="one more account; may be repeated",
    )
    secure = flags.add_argument_group("TLS")
    add = secure.add_argument
    add("--tls-cert", metavar="FILE", help="the certificate, PEM: binds are by TLS only")
    add("--tls-key", metavar="FILE", help="its key, PEM")
    add("--tls-client-ca", metavar="FILE", help="ask for a client certificate that this CA signed")

    groups: dict[str, Any] = {}
    for name, option in OPTIONS.items():
        if option.group not in groups:
            groups[option.group] = flags.add_argument_group(option.group)
        default = option.kind.show(getattr(defaults, name))
        name_of_flag = "--" + name.replace("_", "-")
        if option.kind is SWITCH:
            groups[option.group].add_argument(
                name_of_flag,
                action=argparse.BooleanOptionalAction,
                default=default,
                help=option.meaning,
            )
            continue
        groups[option.group].add_argument(
            name_of_flag,
            type=_reader(option.kind),
            default=getattr(defaults, name),
            metavar=option.kind.metavar,
            help=f"{option.meaning} ({_help(option.kind, default)})",
        )
    return flags


def _help(kind: Kind, default: Any) -> str:
    if isinstance(default, dict):
        default = ":".join(str(value) for value in default.values())
    shown = "none" if default is None else f"{default:g}" if isinstance(default, float) else default
    names = f"{kind.right}; " if kind.metavar == "NAME" else ""
    return f"{names}default: {shown}"


def _reader(kind: Kind) -> Any:
    def read(text: str) -> Any:
        try:
            return kind.read_text(text)
        except (ValueError, TypeError, AttributeError):
            raise argparse.ArgumentTypeError(f"expected {kind.right}, not {text}") from None

    return read


def _account(text: str) -> tuple[str, str]:
    system_id, colon, password = text.partition(":")
    if not system_id or not colon:
        raise argparse.ArgumentTypeError(f"expected SYSTEM_ID:PASSWORD, not {text}")
    return system_id, password


def _tls(arguments: argparse.Namespace, flags: argparse.ArgumentParser) -> ssl.SSLContext | None:
    if arguments.tls_cert is None:
        if arguments.tls_key or arguments.tls_client_ca:
            flags.error("--tls-key and --tls-client-ca go with --tls-cert")
        return None
    try:
        return server_tls(arguments.tls_cert, arguments.tls_key, arguments.tls_client_ca)
    except OSError as error:
        flags.error(f"TLS: {error}")


def server_tls(certificate: str, key: str | None, client_ca: str | None = None) -> ssl.SSLContext:
    """A server's TLS context; with `client_ca` it demands a client certificate.

    Raises:
        OSError: a file cannot be read, or is not what it should be (ssl.SSLError).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def main() -> None:
    """Start the simulator that the arguments describe; it ends on SIGTERM or SIGINT."""
    flags = parser()
    arguments = flags.parse_args()
    tls = _tls(arguments, flags)
    options = msgspec.structs.replace(
        Options(
            system_id=arguments.system_id,
            password=arguments.password,
            accounts=dict(arguments.account),
        ),
        **{name: getattr(arguments, name) for name in OPTIONS},
    )

    async def start() -> SmscSimulator:
        simulator = SmscSimulator(options, tls)
        await simulator.start(arguments.host, arguments.port, arguments.control_port)
        return simulator

    run(start)


if __name__ == "__main__":
    main()
