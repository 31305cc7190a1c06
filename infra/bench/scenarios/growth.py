"""[growth] Messages a second and the price of each, by endpoint processes and partitions; and what
larger loads would need."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import psutil
import uvloop

from infra.bench.capacity import ENGINE, Costs, Demand, Means, Need, needed
from infra.bench.cluster import NODES, Cluster, beside
from infra.bench.document import table
from infra.bench.ledger import LOST
from infra.bench.saturation import Measured, saturate, steady
from infra.bench.scenario import FIGURES, Check, Run, Scenario, exactly
from infra.bench.site import Peer, site
from infra.bench.throughput import PRODUCT

ENDPOINTS: Final = (1, 2, 4)
PARTITIONS: Final = (1, 2, 4, 8)
_CLUSTER_PARTITIONS: Final = 3
_STREAMS: Final = "RESTATE_WORKER__INVOKER__HTTP2_STREAMS_PER_CONNECTION_LIMIT"
_FEW: Final = "16"
"""Streams on a connection where several processes share the address: a connection stays with the
process that took it, and restate-server opens as many as it has streams for."""

_PEAK: Final = 1_000 / (22e6 / 86_400)
"""Of the mission: 1,000/s at the peak of 22 M a day, 255/s on the average."""
_SMS: Final = 0.3
_WAITING: Final = 130.0
"""Seconds: 130,000 in flight at 1,000/s."""
DEMANDS: Final[Mapping[str, Demand]] = {
    name: Demand(a_day, a_day / 86_400 * _PEAK, _SMS, _WAITING)
    for name, a_day in (("22 M a day", 22e6), ("1 billion a day", 1e9))
}
MEANS: Final = Means(
    cores=8,
    use=0.6,
    copies=2,
    bind_rate=100.0,
    kept_days={"message log": 30.0, "SMPP journal": 8.0},
)

LATE_RATE: Final = 250.0
"""Messages a second: with room, so that what waits does so for its receipt."""
_LATER: Final = 8.0
"""Seconds, more than Restate's inactivity timeout: the message sleeps, and is replayed."""
LATE: Final = f"{LATE_RATE:.0f}/s, receipts after {_LATER:.0f} s"
_LONGER: Final = 2.0
"""Times the duration of the others: as long again as it takes until the first receipt comes."""
CLUSTER: Final = "three servers, two copies"

Grid = Mapping[tuple[int, int], Measured]
"""By endpoint processes and partitions."""

MEASURED = exactly("combinations measured", len(ENDPOINTS) * len(PARTITIONS))
WELL = exactly("ended otherwise than delivered", 0)
REFUSED = exactly(f"refused of those at {LATE_RATE:.0f}/s", 0)
TWICE = exactly("sent twice", 0)


def run(run: Run) -> Sequence[Check]:
    """Each combination on a stack of its own, then a cluster, then the model."""
    grid = {
        (endpoints, partitions): alone(run, endpoints, partitions)
        for endpoints in ENDPOINTS
        for partitions in PARTITIONS
    }
    late = with_late_receipts(run)
    cluster = on_three(run)
    found = costs(grid[1, 1], late, cluster)
    needs = {name: needed(found, demand, MEANS) for name, demand in DEMANDS.items()}
    run.report.mkdir(parents=True, exist_ok=True)
    text = figures(run.duration, grid, {LATE: late, CLUSTER: cluster}, found, needs)
    (run.report / FIGURES).write_text(text, encoding="utf-8")
    everything = (*grid.values(), late, cluster)
    return (
        MEASURED.check(len(grid)),
        LOST.check(sum(each.lost for each in everything)),
        WELL.check(sum(each.otherwise for each in everything)),
        REFUSED.check(late.refused),
        TWICE.check(sum(each.copies for each in everything)),
        *_shown(grid, {LATE: late, CLUSTER: cluster}, needs),
    )


def alone(run: Run, endpoints: int, partitions: int) -> Measured:
    """One restate-server of so many partitions, and so many endpoint processes at one address."""
    run.phase(f"{endpoints} endpoint processes, {partitions} partitions")
    here = replace(run, directory=run.directory / f"{endpoints}-{partitions}")
    here.directory.mkdir()
    environment = {"RESTATE_DEFAULT_NUM_PARTITIONS": str(partitions)}
    commands: dict[str, Sequence[str]] = {}
    if endpoints > 1:
        environment[_STREAMS] = _FEW
        module = ("infra.bench.replicas", str(endpoints), "infra.processes.endpoint")
        commands["endpoint"] = (sys.executable, "-m", *module)
    with site(here, Peer(), commands=commands, environment=environment) as stage:
        return uvloop.run(saturate(stage))


def with_late_receipts(run: Run) -> Measured:
    """One of everything, and receipts that come when the message sleeps already."""
    run.phase("late receipts")
    here = replace(run, directory=run.directory / "late", duration=_LONGER * run.duration)
    here.directory.mkdir()
    with site(here, Peer()) as stage:
        return uvloop.run(steady(stage, LATE_RATE, receipts_after=_LATER))


def on_three(run: Run) -> Measured:
    """Three restate-servers with two copies of everything, and one endpoint process."""
    run.phase("three servers")
    with (
        Cluster(run.directory / "cluster", partitions=_CLUSTER_PARTITIONS) as nodes,
        beside(run, nodes) as stage,
    ):
        return uvloop.run(saturate(stage, lambda: {**stage.stack.pids(), **nodes.pids()}))


def costs(alone: Measured, late: Measured, cluster: Measured) -> Costs:
    """What a message costs whose receipt lets it sleep, on servers that replicate their log: three
    of them cost as much more than one as they did under a full load."""
    times = cluster.cpu_ms[ENGINE] / (alone.cpu_ms[ENGINE] or 1.0)
    return Costs(
        cpu_ms={**late.cpu_ms, ENGINE: late.cpu_ms[ENGINE] * times},
        log_bytes=late.work["bytes in the log, synced"],
        log_syncs=late.work["syncs of the log"],
        kept_bytes=late.kept_bytes,
        memory_mb={**alone.memory_mb, ENGINE: cluster.memory_mb[ENGINE] / NODES},
    )


def _shown(
    grid: Grid, others: Mapping[str, Measured], needs: Mapping[str, Need]
) -> Iterable[Check]:
    """What has no bar."""
    for (endpoints, partitions), point in grid.items():
        yield from _point(f"endpoints: {endpoints}, partitions: {partitions}", point)
    for name, point in others.items():
        yield from _point(name, point)
    busy = round(_others(grid, others), 2)
    yield Check("processors that other programs had, at most", busy, "any", ok=True)
    for name, need in needs.items():
        for what, value in _rows(need).items():
            yield Check(f"{name}: {what}", value, "any", ok=True)


def _point(name: str, point: Measured) -> Iterable[Check]:
    yield Check(f"{name}: messages/s", round(point.rate, 1), "any", ok=True)
    yield Check(f"{name}: CPU ms a message", round(point.price, 2), "any", ok=True)


# --- for the document


def figures(
    seconds: float,
    grid: Grid,
    others: Mapping[str, Measured],
    found: Costs,
    needs: Mapping[str, Need],
) -> str:
    """What was measured and what it leads to, as tables."""
    kinds = [f"{count} partitions" if count > 1 else "1 partition" for count in PARTITIONS]
    rates = table(
        ("messages a second; endpoint processes", *kinds),
        [
            (str(count), *(f"{grid[count, at].rate:,.0f}" for at in PARTITIONS))
            for count in ENDPOINTS
        ],
    )
    prices = table(
        ("CPU ms a message, all processes; endpoint processes", *kinds),
        [
            (str(count), *(f"{grid[count, at].price:.2f}" for at in PARTITIONS))
            for count in ENDPOINTS
        ],
    )
    shares = table(
        ("the busiest endpoint process's share of the work of all", *kinds),
        [
            (str(count), *(f"{grid[count, at].busiest:.0%}" for at in PARTITIONS))
            for count in ENDPOINTS[1:]
        ],
    )
    ways = {"one of each, one partition": grid[1, 1], **others}
    processes = table(
        ("CPU ms a message", *PRODUCT, "total", "messages a second"),
        [
            (
                name,
                *(f"{point.cpu_ms[process]:.2f}" for process in PRODUCT),
                f"{point.price:.2f}",
                f"{point.rate:,.0f}",
            )
            for name, point in ways.items()
        ],
    )
    left = ", ".join(
        f"{size / 1000:.1f} kB in the {name}" for name, size in found.kept_bytes.items()
    )
    log = (
        f"A message is {found.log_bytes / 1000:.1f} kB and {found.log_syncs:.2f} syncs in "
        f"Restate's log, and leaves {left}.\n"
    )
    return "\n".join(
        (
            f"Full load for {seconds:.0f} s each, closed loop, but for “{LATE}”: an open loop of "
            f"{_LONGER * seconds:.0f} s; other programs had "
            f"{_others(grid, others):.1f} of {psutil.cpu_count()} processors at most:\n",
            *(rates, prices, shares, processes, log, _model(needs)),
        )
    )


def _others(grid: Grid, others: Mapping[str, Measured]) -> float:
    return max(point.others for point in (*grid.values(), *others.values()))


def _model(needs: Mapping[str, Need]) -> str:
    rows = {name: _rows(need) for name, need in needs.items()}
    names = next(iter(rows.values()))
    return table(
        ("needed", *needs),
        [(what, *(_said(rows[name][what]) for name in needs)) for what in names],
    )


def _rows(need: Need) -> dict[str, float]:
    """A need as its figures are called for people."""
    return {
        "messages a second, average": round(need.average),
        "messages a second, peak": round(need.peak),
        **{f"cores at the peak: {name}": round(at, 1) for name, at in need.cores.items()},
        **{f"processes: {name}": many for name, many in need.processes.items()},
        f"nodes of {MEANS.cores} cores, one of them to spare": need.nodes,
        "Restate's log at the peak, MB/s, both copies": round(need.log_mb_s, 1),
        "Restate's log a day, TB, both copies": round(need.log_gb_day / 1000, 2),
        "Restate's log, syncs a second, both copies, at most": round(need.syncs_s),
        **{
            f"{name}, full after {MEANS.kept_days[name]:.0f} days, GB": round(size)
            for name, size in need.stored_gb.items()
        },
        "in flight at the peak": need.in_flight,
        "memory, GB": round(need.memory_gb, 1),
        f"carriers' binds of {MEANS.bind_rate:.0f}/s": need.binds,
    }


def _said(value: float) -> str:
    return f"{value:,}"


SCENARIO = Scenario(
    "growth",
    f"Messages/s and CPU a message at {'/'.join(map(str, ENDPOINTS))} endpoint processes and "
    f"{'/'.join(map(str, PARTITIONS))} partitions, and what larger loads would need",
    (MEASURED, LOST, WELL, REFUSED, TWICE),
    run,
    duration=10.0,
    documented=True,
)
