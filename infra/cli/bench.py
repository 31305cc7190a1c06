"""`hermes bench`: what a delivered message costs, measured on a stack of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from infra.bench.throughput import Result, encode, run
from infra.cli.console import console
from infra.local.stack import ComponentFailed, StackError

_MEANING = {
    "api": "REST API: check, authenticate, hand over",
    "restate": "restate-server: journal, state, timers",
    "endpoint": "handlers: the cascade",
    "pool": "bind pool: SMPP, its journal, receipts",
}


@click.command()
@click.option("--rate", default=300.0, show_default=True, help="Messages a second, open loop.")
@click.option("--duration", default=60.0, show_default=True, help="Seconds of load.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("bench-latest.json"),
    show_default=True,
    help="The file that the JSON is written to.",
)
def bench(rate: float, duration: float, as_json: bool, output: Path) -> None:
    """Load the API at a steady rate and count every message to its receipt.

    Runs a stack of its own on free ports with data of its own; nothing that runs already is
    touched. Exits with 1 when a message was lost, failed or refused, or submitted twice.
    """
    out = console(sys.stderr if as_json else None)
    try:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=out,
            transient=True,
        ) as bar:
            task = bar.add_task("starting", total=None)
            result = run(
                rate=rate,
                duration=duration,
                progress=lambda phase, done, of: bar.update(
                    task, description=phase, completed=done, total=of
                ),
            )
    except (StackError, ComponentFailed) as error:
        raise click.ClickException(str(error)) from None
    output.write_bytes(encode(result))
    if as_json:
        sys.stdout.buffer.write(encode(result))
    else:
        _show(result, out, output)
    clean = result.delivered == result.accepted and not result.duplicates and not result.refused
    sys.exit(0 if clean else 1)


def _show(result: Result, out: Console, output: Path) -> None:
    counts = Table(box=None, show_header=False, pad_edge=False)
    counts.add_row("accepted", f"{result.accepted:,}")
    counts.add_row("delivered", f"{result.delivered:,}", f"{result.delivered_per_s:,} a second")
    counts.add_row("failed", f"{result.failed:,}")
    counts.add_row("lost", f"{result.lost:,}")
    counts.add_row("duplicates", f"{result.duplicates:,}")
    if result.refused:
        refused = ", ".join(f"{name}: {count}" for name, count in result.refused.items())
        counts.add_row("refused", f"{sum(result.refused.values()):,}", refused)
    counts.add_row("request to receipt", f"{result.p50_ms} ms", f"p99 {result.p99_ms} ms")
    counts.add_row("request to 202", "", f"p99 {result.accept_p99_ms} ms")
    counts.add_row("step to carrier", "", f"p99 {result.step_p99_ms} ms")
    out.print(counts)
    out.print()

    price = Table("process", "CPU ms/message", "share", "RSS MB", "what it does", box=None)
    for column in (1, 2, 3):
        price.columns[column].justify = "right"
    total = result.cpu_ms_per_message["total"]
    for name, does in _MEANING.items():
        cost = result.cpu_ms_per_message[name]
        share = f"{cost / total:.0%}" if total else ""
        price.add_row(name, f"{cost:.2f}", share, f"{result.rss_mb[name]:.0f}", does)
    price.add_row("total", f"{total:.2f}", "", "", "", style="bold")
    out.print(price)
    out.print(f"\nWritten to {output}")
