"""What a scenario is: a situation to measure in, and bars that each measurement must reach."""

from __future__ import annotations

import shutil
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.stack import ROOT

Number = float
FIGURES = "figures.md"
"""What a scenario with figures for a document calls them in its report's directory."""
Progress = Callable[[str, int, int], None]
"""Told the phase, how many are done, and of how many; 0 for what has no number."""

_RELATIONS: dict[str, Callable[[Number, Number], bool]] = {
    "≥": lambda measured, limit: measured >= limit,
    "≤": lambda measured, limit: measured <= limit,
    "<": lambda measured, limit: measured < limit,
    "=": lambda measured, limit: measured == limit,
}


@dataclass(frozen=True, slots=True)
class Check:
    """One measurement beside its bar. `measured` is None when it could not be taken."""

    name: str
    measured: Number | str | None
    bar: str
    ok: bool

    def as_dict(self) -> dict[str, Any]:
        """The check as JSON has it."""
        return {"name": self.name, "measured": self.measured, "bar": self.bar, "ok": self.ok}


@dataclass(frozen=True, slots=True)
class Bar:
    """What a measurement must reach.

    `limit` is a number, or the name of another measurement, whose value `check` is then given.
    """

    name: str
    relation: str
    limit: Number | str
    unit: str = ""

    def __str__(self) -> str:
        limit = self.limit if isinstance(self.limit, str) else _digits(self.limit)
        return f"{self.relation} {limit}{' ' if self.unit else ''}{self.unit}"

    def check(self, measured: Number | None, limit: Number | None = None) -> Check:
        """Hold a measurement against the bar. None, for one that could not be taken, fails."""
        if isinstance(self.limit, str) == (limit is None):
            raise ValueError(f"{self.name}: the limit is {self.limit}, not {limit}")
        stands = limit if isinstance(self.limit, str) else self.limit
        assert isinstance(stands, Number | int)
        said = f"{self} ({_digits(stands)})" if isinstance(self.limit, str) else str(self)
        if measured is None:
            return Check(self.name, None, said, ok=False)
        # Judged as shown, so that nobody reads "5 ≤ 5, failed".
        shown = _rounded(measured)
        return Check(self.name, shown, said, ok=_RELATIONS[self.relation](shown, stands))


def at_least(name: str, limit: Number | str, unit: str = "") -> Bar:
    """A bar for what should be large."""
    return Bar(name, "≥", limit, unit)


def at_most(name: str, limit: Number | str, unit: str = "") -> Bar:
    """A bar for what should be small."""
    return Bar(name, "≤", limit, unit)


def below(name: str, limit: Number | str, unit: str = "") -> Bar:
    """A bar for what must stay under its limit."""
    return Bar(name, "<", limit, unit)


def exactly(name: str, limit: Number | str, unit: str = "") -> Bar:
    """A bar for what is one number and no other."""
    return Bar(name, "=", limit, unit)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a scenario: a directory of its own, which is removed afterwards, the seed of
    everything random, the seconds of load, a directory where a report for people may be left, and
    who is told how far it has come."""

    directory: Path
    seed: int
    duration: float
    report: Path = ROOT / ".hermes" / "reports"
    progress: Progress = lambda phase, done, of: None

    def phase(self, name: str) -> None:
        """Say what is being done, where nothing can be counted."""
        self.progress(name, 0, 0)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named situation. `run` starts what it needs, measures, takes it down, and returns one
    check for each of `bars`. `duration` is the load's default in seconds; None where what is
    counted is messages, and time cannot be chosen. One that is `documented` leaves FIGURES."""

    name: str
    summary: str
    bars: tuple[Bar, ...]
    run: Callable[[Run], Sequence[Check]]
    duration: float | None = None
    documented: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a run found. `page` is the report for people, and `figures` are those for a document,
    if the scenario left them."""

    scenario: str
    checks: tuple[Check, ...]
    page: Path | None = None
    figures: Path | None = None

    @property
    def ok(self) -> bool:
        """Whether every bar was reached."""
        return all(check.ok for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        checks = [check.as_dict() for check in self.checks]
        return {"scenario": self.scenario, "ok": self.ok, "checks": checks}


def carry_out(
    scenario: Scenario,
    *,
    seed: int = 1,
    duration: float | None = None,
    progress: Progress = lambda phase, done, of: None,
    complain: Callable[[str], None] = lambda trace: None,
) -> Report:
    """Run a scenario in a directory of its own and report on every bar it has.

    A run that breaks off is a report that failed, with a check that says why; `complain` is given
    the traceback. Interruptions pass, after everything has been taken down.
    """
    parent = ROOT / ".hermes"
    parent.mkdir(mode=0o700, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=f"{scenario.name}-", dir=parent))
    length = scenario.duration or 0.0 if duration is None else duration
    kept = parent / "reports" / scenario.name
    shutil.rmtree(kept, ignore_errors=True)
    try:
        checks = tuple(scenario.run(Run(directory, seed, length, kept, progress)))
    except Exception as error:
        complain(traceback.format_exc())
        said = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        checks = (Check("the run came to its end", said, "no error", ok=False),)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    measured = {check.name for check in checks}
    missing = [bar for bar in scenario.bars if bar.name not in measured]
    return Report(
        scenario.name,
        (*checks, *(Check(bar.name, None, str(bar), ok=False) for bar in missing)),
        page if (page := kept / "index.html").exists() else None,
        figures if (figures := kept / FIGURES).exists() else None,
    )


def percentile(values: Sequence[Number], percent: float) -> Number | None:
    """The value that `percent` of 100 do not exceed; None when there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def _rounded(value: Number) -> Number:
    return value if isinstance(value, int) else round(value, 3)


def _digits(value: Number) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,}"
