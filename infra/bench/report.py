"""A run's report for people: a page with its bars and its plots, and each plot as a picture."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.bench.scenario import Check

_SIZE = (9.0, 3.4)
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1c2430; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem; }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid #d9dee5; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.good { color: #1a7f4b; } .bad { color: #b3261e; font-weight: 600; }
img { width: 100%; height: auto; } figure { margin: 0 0 2rem; }
"""


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines over seconds. `lines` are pairs of x and y by name; with `stacked` they lie one on the
    other and share the x of the first."""

    name: str
    title: str
    unit: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    stacked: bool = False


def write(directory: Path, title: str, checks: Sequence[Check], plots: Sequence[Plot]) -> Path:
    """Write the page and the pictures; returns the page. Raises ImportError without matplotlib."""
    directory.mkdir(parents=True, exist_ok=True)
    for plot in plots:
        _draw(plot, directory / f"{plot.name}.png")
    page = directory / "index.html"
    page.write_text(_page(title, checks, plots), encoding="utf-8")
    return page


def _draw(plot: Plot, path: Path) -> None:
    # Only a report needs it, and it takes half a second to load.
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=_SIZE, layout="constrained")
    if plot.stacked:
        xs = next(iter(plot.lines.values()))[0]
        axes.stackplot(xs, [y for _, y in plot.lines.values()], labels=list(plot.lines))
    else:
        for name, (x, y) in plot.lines.items():
            axes.plot(x, y, label=name, linewidth=1.4)
    axes.set_title(plot.title, loc="left", fontsize=11)
    axes.set_xlabel("seconds")
    axes.set_ylabel(plot.unit)
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=9)
    figure.savefig(path, dpi=140)
    pyplot.close(figure)


def _page(title: str, checks: Sequence[Check], plots: Sequence[Plot]) -> str:
    rows = "\n".join(_row(check) for check in checks)
    figures = "\n".join(
        f'<figure><img src="{plot.name}.png" alt="{html.escape(plot.title)}"></figure>'
        for plot in plots
    )
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}'
        f"</title>\n<style>{_STYLE}</style>\n<h1>{html.escape(title)}</h1>\n"
        f"<table><tr><th></th><th>measured</th><th>bar</th><th></th></tr>\n{rows}\n</table>\n"
        f"{figures}\n</html>\n"
    )


def _row(check: Check) -> str:
    verdict = '<td class="good">reached</td>' if check.ok else '<td class="bad">missed</td>'
    measured = "not measured" if check.measured is None else check.measured
    said = measured if isinstance(measured, str) else f"{measured:,}"
    return (
        f'<tr><td>{html.escape(check.name)}</td><td class="number">{html.escape(said)}</td>'
        f"<td>{html.escape(check.bar)}</td>{verdict}</tr>"
    )
