"""[ledger] Two processes charge for messages, and one after the other is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from infra.bench import tills
from infra.bench.scenario import Bar, Check, Run, Scenario, at_least, exactly
from infra.local.postgres import postgres_server

MESSAGES = 100_000
KILLS = 8


def _bars(kind: str) -> tuple[Bar, ...]:
    return (
        at_least(f"messages, {kind}", MESSAGES),
        at_least(f"processes killed with -9, {kind}", KILLS),
        at_least(f"answers that were lost and asked for again, {kind}", 1),
        at_least(f"attempts of unknown outcome, {kind}", 1),
        at_least(f"attempts refused for want of money, {kind}", 1),
        exactly(f"answers that were others the second time, {kind}", 0),
        exactly(f"lost, doubled or wrong charges, {kind}", 0),
        exactly(f"what the accounts are off by, {kind}", 0, "EUR"),
        exactly(f"accounts overdrawn, {kind}", 0),
        exactly(f"faults that `hermes accounts check` finds, {kind}", 0),
    )


SQLITE, POSTGRES = _bars("SQLite"), _bars("PostgreSQL")


def run(run: Run) -> Sequence[Check]:
    """The same on each database."""
    checks = _measure(run, SQLITE, "SQLite", run.directory / "hermes.db")
    with postgres_server() as server:
        return [*checks, *_measure(run, POSTGRES, "PostgreSQL", server.url())]


def _measure(run: Run, bars: Sequence[Bar], kind: str, where: Path | str) -> list[Check]:
    def progress(done: int) -> None:
        run.progress(f"messages, {kind}", done, MESSAGES)

    counted = asyncio.run(
        tills.run(where, messages=MESSAGES, kills=KILLS, seed=run.seed, progress=progress)
    )
    measured = (
        counted.messages,
        counted.kills,
        counted.repeated,
        counted.unknown,
        counted.refused,
        counted.answers_that_changed,
        len(counted.wrong_attempts),
        float(counted.difference),
        counted.overdrawn,
        sum(finding.wrong for finding in counted.findings),
    )
    return [bar.check(value) for bar, value in zip(bars, measured, strict=True)]


SCENARIO = Scenario(
    "ledger",
    "100,000 messages with failures, refunds and late receipts, two processes, kill -9: the "
    "ledger against a count of our own",
    (*SQLITE, *POSTGRES),
    run,
)
