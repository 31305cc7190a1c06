"""The figures of `hermes bench` as a document has them, between two marks."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

from infra.bench.throughput import PRODUCT, Result

BEGIN: Final = "<!-- figures: `make bench` writes them -->"
END: Final = "<!-- end of figures -->"
SCENARIO_BEGIN: Final = (
    "<!-- figures of {}: `hermes bench --scenario {} --document` writes them -->"
)
SCENARIO_END: Final = "<!-- end of figures of {} -->"
_DOES: Final[Mapping[str, str]] = {
    "api": "checks, authenticates, nine layers, hands over",
    "restate": "journal, state, timers",
    "endpoint": "the cascade, the message log",
    "pool": "SMPP, its journal, receipts",
}


def rewrite(document: Path, result: Result) -> None:
    """Put a run's figures in the place of the document's. Raises ValueError without marks."""
    _replace(document, BEGIN, END, _figures(result))


def rewrite_scenario(document: Path, scenario: str, figures: str) -> None:
    """The same for a scenario, which has marks of its own."""
    begin = SCENARIO_BEGIN.format(scenario, scenario)
    _replace(document, begin, SCENARIO_END.format(scenario), figures)


def _replace(document: Path, begin: str, end: str, figures: str) -> None:
    text = document.read_text(encoding="utf-8")
    before, has_begin, rest = text.partition(begin)
    _, has_end, after = rest.partition(end)
    if not (has_begin and has_end):
        raise ValueError(f"{document} has no place for figures: {begin} … {end}")
    document.write_text(f"{before}{begin}\n\n{figures}\n{end}{after}", encoding="utf-8")


def _figures(result: Result) -> str:
    cores, memory = psutil.cpu_count(), psutil.virtual_memory().total / 1e9
    what = (
        f"{result.rate:,.0f} messages a second for {result.duration_s:,.0f} s on {cores} processors"
        f" ({platform.machine()}, {memory:.0f} GB), simulators and load generator on them, too; "
        "fsync on:"
    )
    counts = table(
        (
            *("offered", "accepted", "refused"),
            *("delivered", "failed", "lost", "duplicates", "delivered a second"),
        ),
        [
            (
                f"{result.offered:,}",
                f"{result.accepted:,}",
                f"{sum(result.refused.values()):,}",
                f"{result.delivered:,}",
                f"{result.failed:,}",
                f"{result.lost:,}",
                f"{result.duplicates:,}",
                f"{result.delivered_per_s:,}",
            )
        ],
    )
    times = table(
        ("time (the simulator's receipt comes 200 ms after its response)", "p50", "p99"),
        [
            ("request to receipt", _ms(result.p50_ms), _ms(result.p99_ms)),
            ("request to 202", "", _ms(result.accept_p99_ms)),
            ("step to the carrier's answer", "", _ms(result.step_p99_ms)),
        ],
    )
    price, total = result.cpu_ms_per_message, result.cpu_ms_per_message["total"]
    processes = table(
        ("process", "CPU ms a message", "share", "kB written", "memory, MB", "does"),
        [
            (
                name,
                f"{price[name]:.2f}",
                f"{price[name] / total:.0%}" if total else "",
                f"{result.written_kb_per_message.get(name, 0.0):.1f}",
                f"{result.rss_mb[name]:.0f}",
                _DOES[name],
            )
            for name in PRODUCT
        ]
        + [("**total**", f"**{total:.2f}**", "", "", "", "")],
    )
    work = table(
        ("restate-server, for one message", "times"),
        [(name, f"{times_:,}") for name, times_ in result.restate_per_message.items()],
    )
    return "\n".join((what, "", counts, times, processes, work))


def _ms(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,.0f} ms"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
