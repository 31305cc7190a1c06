"""What a load needs, reckoned from what one message was measured to cost. Pure: no I/O.

Everything grows with the messages, in proportion: that is the model's assumption, and where it
ends is said beside its figures (`infra/bench/scenarios/growth.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_DAY: Final = 86_400.0
ENGINE: Final = "restate"
"""restate-server uses as many processors as it gets; each of our processes uses one."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What one delivered message costs.

    `cpu_ms` is by process, restate-server's for all nodes of a cluster together; `log_bytes` goes
    to one copy of Restate's log, in `log_syncs` syncs, which more load does not make more of.
    `kept_bytes` is what stays in each store, `memory_mb` what one process of a kind has.
    """

    cpu_ms: Mapping[str, float]
    log_bytes: float
    log_syncs: float
    kept_bytes: Mapping[str, float]
    memory_mb: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Demand:
    """Messages `a_day`, and `peak` a second, of which the share `sms` goes over binds. A message
    waits `waiting` seconds for its receipt, on the average."""

    a_day: float
    peak: float
    sms: float
    waiting: float


@dataclass(frozen=True, slots=True)
class Means:
    """What it is built of: nodes with so many `cores`, of which the share `use` may be busy;
    `copies` of the log; binds that take `bind_rate` messages a second; and how many days each
    store keeps what it has."""

    cores: int
    use: float
    copies: int
    bind_rate: float
    kept_days: Mapping[str, float]
    fewest_nodes: int = 3


@dataclass(frozen=True, slots=True)
class Need:
    """Rates in messages a second; cores and processes by process, at the peak; the log in MB a
    second at the peak and in GB a day, and its syncs a second at the peak, all copies together;
    `stored_gb` by store, once it is full.
    `nodes` is with one that may fail."""

    average: float
    peak: float
    cores: Mapping[str, float]
    processes: Mapping[str, int]
    nodes: int
    log_mb_s: float
    log_gb_day: float
    syncs_s: float
    stored_gb: Mapping[str, float]
    in_flight: int
    memory_gb: float
    binds: int


def needed(costs: Costs, demand: Demand, means: Means) -> Need:
    """What the demand needs. A store without an entry in `kept_days` is left out."""
    cores = {name: demand.peak * each / 1000 for name, each in costs.cpu_ms.items()}
    busy = math.ceil(sum(cores.values()) / (means.cores * means.use))
    nodes = max(busy, means.fewest_nodes - 1) + 1
    processes = {
        name: nodes if name == ENGINE else max(math.ceil(each / means.use), 1)
        for name, each in cores.items()
    }
    log_bytes = costs.log_bytes * means.copies
    return Need(
        average=demand.a_day / _DAY,
        peak=demand.peak,
        cores=cores,
        processes=processes,
        nodes=nodes,
        log_mb_s=demand.peak * log_bytes / 1e6,
        log_gb_day=demand.a_day * log_bytes / 1e9,
        syncs_s=demand.peak * costs.log_syncs * means.copies,
        stored_gb={
            name: demand.a_day * costs.kept_bytes[name] * days / 1e9
            for name, days in means.kept_days.items()
            if name in costs.kept_bytes
        },
        in_flight=round(demand.peak * demand.waiting),
        memory_gb=sum(costs.memory_mb[name] * many for name, many in processes.items()) / 1000,
        binds=math.ceil(demand.peak * demand.sms / means.bind_rate),
    )
