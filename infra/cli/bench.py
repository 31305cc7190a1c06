"""`hermes bench`: what a delivered message costs, measured on a stack of its own."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from infra.bench.document import rewrite, rewrite_scenario
from infra.bench.scenario import Report, Scenario, carry_out
from infra.bench.throughput import Result, encode, run
from infra.cli.console import console, print_json, seconds
from infra.local.stack import ComponentFailed, StackError

_MEANING = {
    "api": "REST API: check, authenticate, hand over",
    "restate": "restate-server: journal, state, timers",
    "endpoint": "handlers: the cascade",
    "pool": "bind pool: SMPP, its journal, receipts",
}


@click.command()
@click.option("--rate", type=float, help="Messages a second, open loop.  [default: 300]")
@click.option("--duration", type=float, help="Seconds of load.  [default: 60, or the scenario's]")
@click.option("--list", "listing", is_flag=True, help="Name the scenarios and their bars.")
@click.option("--scenario", metavar="NAME", help="Run one of those instead.")
@click.option("--seed", type=int, help="Of a scenario's random faults.  [default: 1]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file for the JSON, too.  [default: bench-latest.json; for a scenario none]",
)
@click.option(
    "--document",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A document whose figures are to be these: docs/performance.md.",
)
def bench(
    rate: float | None,
    duration: float | None,
    listing: bool,
    scenario: str | None,
    seed: int | None,
    as_json: bool,
    output: Path | None,
    document: Path | None,
) -> None:
    """Load the API at a steady rate and count every message to its receipt.

    Runs a stack of its own on free ports with data of its own; nothing that runs already is
    touched. Exits with 1 when a message was lost, failed or refused, or submitted twice.

    A scenario is a fault or an extreme, with bars that each measurement must reach: exit code 1
    when one is missed.
    """
    # As an exception, like Ctrl-C: everything that was started is taken down on the way out.
    signal.signal(signal.SIGTERM, _interrupted)
    if listing:
        _list(as_json)
    elif scenario is not None:
        if rate is not None:
            raise click.UsageError("--rate is not a scenario's to choose")
        _scenario(scenario, seed, duration, output, document, as_json)
    elif seed is not None:
        raise click.UsageError("--seed belongs to --scenario")
    else:
        output = output or Path("bench-latest.json")
        result = _throughput(rate or 300.0, duration or 60.0, output, as_json)
        if document is not None and result.clean:
            rewrite(document, result)
        elif document is not None:
            _leave(document, "not every message was accepted and delivered once", as_json)
        sys.exit(0 if result.clean else 1)


def _leave(document: Path, why: str, as_json: bool) -> None:
    """Say that a document keeps its figures: those of a run that failed are nobody's promise."""
    console(sys.stderr if as_json else None).print(
        Text(f"\n{document} keeps its figures: {why}", "bad")
    )


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _list(as_json: bool) -> None:
    scenarios = _scenarios().values()
    if as_json:
        listed = [{"scenario": s.name, "summary": s.summary, "bars": _bars(s)} for s in scenarios]
        print_json(listed)
        return
    out = console()
    for each in scenarios:
        lasts = f" ({seconds(each.duration)})" if each.duration else ""
        out.print(Text(each.name, "strong"), Text(each.summary + lasts), sep="  ")
        bars = [f"{name} {bar}" for name, bar in _bars(each).items()]
        out.print(Padding(Text("; ".join(bars), "quiet"), (0, 0, 1, 2)))


def _bars(scenario: Scenario) -> dict[str, str]:
    return {bar.name: str(bar) for bar in scenario.bars}


def _scenarios() -> dict[str, Scenario]:
    # Loaded when first used: `make bench` needs none of them.
    from infra.bench.catalogue import SCENARIOS

    return SCENARIOS


def _scenario(
    name: str,
    seed: int | None,
    duration: float | None,
    output: Path | None,
    document: Path | None,
    as_json: bool,
) -> None:
    scenario = _scenarios().get(name)
    if scenario is None:
        known = ", ".join(_scenarios())
        raise click.UsageError(f"no scenario is called {name}; there are {known}")
    if scenario.duration is None and duration is not None:
        raise click.UsageError(f"{name} counts messages, not seconds: it has no --duration")
    if document is not None and not scenario.documented:
        raise click.UsageError(f"no document has figures of {name}")
    out = console(sys.stderr if as_json else None)
    with _progress(out) as progress:
        report = carry_out(
            scenario,
            seed=1 if seed is None else seed,
            duration=duration,
            progress=progress,
            complain=lambda trace: out.print(Text(trace)),
        )
    if output is not None:
        output.write_text(json.dumps(report.as_dict(), ensure_ascii=False, indent=2) + "\n")
    if document is not None and report.figures is not None and report.ok:
        rewrite_scenario(document, name, report.figures.read_text(encoding="utf-8"))
    if as_json:
        print_json(report.as_dict())
    else:
        _show_report(report, out)
        if report.page is not None:
            out.print(f"\nWith plots: {report.page}")
    if document is not None and not report.ok:
        _leave(document, "a bar was missed", as_json)
    sys.exit(0 if report.ok else 1)


def _show_report(report: Report, out: Console) -> None:
    table = Table("", report.scenario, "measured", "bar", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    for check in report.checks:
        style = "good" if check.ok else "bad"
        measured = check.measured
        said = "not measured" if measured is None else _said(measured)
        mark = Text("✓" if check.ok else "✗", style)
        table.add_row(mark, check.name, Text(said, style), check.bar)
    out.print(table)


def _said(measured: float | str) -> str:
    return measured if isinstance(measured, str) else f"{measured:,}"


@contextmanager
def _progress(out: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on `out`; yields what is told the phase, how many are done, and of how many."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=out,
        transient=True,
    ) as bar:
        task = bar.add_task("starting", total=None)

        def told(phase: str, done: int, of: int) -> None:
            bar.update(task, description=phase, completed=done, total=of or None)

        yield told


def _throughput(rate: float, duration: float, output: Path, as_json: bool) -> Result:
    out = console(sys.stderr if as_json else None)
    try:
        with _progress(out) as progress:
            result = run(rate=rate, duration=duration, progress=progress)
    except (StackError, ComponentFailed) as error:
        raise click.ClickException(str(error)) from None
    output.write_bytes(encode(result))
    if as_json:
        sys.stdout.buffer.write(encode(result))
    else:
        _show(result, out, output)
    return result


def _ms(value: float | None) -> str:
    return "not measured" if value is None else f"{value} ms"


def _show(result: Result, out: Console, output: Path) -> None:
    counts = Table(box=None, show_header=False, pad_edge=False)
    counts.add_row("offered", f"{result.offered:,}")
    counts.add_row("accepted", f"{result.accepted:,}")
    counts.add_row("delivered", f"{result.delivered:,}", f"{result.delivered_per_s:,} a second")
    counts.add_row("failed", f"{result.failed:,}")
    counts.add_row("lost", f"{result.lost:,}")
    counts.add_row("duplicates", f"{result.duplicates:,}")
    if result.refused:
        refused = ", ".join(f"{name}: {count}" for name, count in result.refused.items())
        counts.add_row("refused", f"{sum(result.refused.values()):,}", refused)
    counts.add_row("request to receipt", _ms(result.p50_ms), f"p99 {_ms(result.p99_ms)}")
    counts.add_row("request to 202", "", f"p99 {_ms(result.accept_p99_ms)}")
    counts.add_row("step to carrier", "", f"p99 {_ms(result.step_p99_ms)}")
    out.print(counts)
    out.print()

    price = Table(
        "process", "CPU ms/message", "share", "kB written", "RSS MB", "what it does", box=None
    )
    for column in range(1, 5):
        price.columns[column].justify = "right"
    total = result.cpu_ms_per_message["total"]
    for name, does in _MEANING.items():
        cost = result.cpu_ms_per_message[name]
        share = f"{cost / total:.0%}" if total else ""
        written = f"{result.written_kb_per_message[name]:.1f}"
        price.add_row(name, f"{cost:.2f}", share, written, f"{result.rss_mb[name]:.0f}", does)
    price.add_row("total", f"{total:.2f}", style="bold")
    out.print(price)
    out.print()

    work = Table("restate-server, for a message", "", box=None, pad_edge=False)
    work.columns[1].justify = "right"
    for name, times in result.restate_per_message.items():
        work.add_row(name, f"{times:,}")
    out.print(work)
    out.print(f"\nWritten to {output}")
