"""[pool] The bind pool alone: what one bind carries, and what a message costs there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import msgspec

from infra.bench.pool_process import Measured
from infra.bench.processes import Processes
from infra.bench.scenario import Check, Run, Scenario, at_least, at_most, exactly
from infra.bench.smsc import start_smsc
from infra.local.stack import ROOT

MESSAGES = 50_000
_PATIENCE = 300.0

RATE = at_least("throughput", 5_000, "messages/s")
CPU = at_most("CPU of the pool's process", 0.2, "s per 1,000")
LOST = exactly("lost", 0)
UNCORRELATED = exactly("receipts not correlated", 0)
UNWRITTEN = exactly("parts or receipts missing in the journal", 0)
DUPLICATES = exactly("duplicates at the SMSC", 0)


def run(run: Run) -> Sequence[Check]:
    """One simulator, one pool with one bind and a journal on disk."""
    with Processes(run.directory) as processes:
        run.phase("starting")
        smsc = start_smsc(processes, "smsc")
        processes.wait_ready()
        run.phase(f"{MESSAGES:,} messages as fast as they go")
        measured = _pool(run, smsc.port)
        copies = smsc.stats_now()["duplicates"]
    count = measured.messages
    return (
        RATE.check(count / measured.seconds),
        CPU.check(measured.cpu_seconds / count * 1000),
        LOST.check(count - measured.taken),
        UNCORRELATED.check(count - measured.correlated),
        UNWRITTEN.check(2 * count - measured.parts - measured.receipts),
        DUPLICATES.check(copies),
    )


def _pool(run: Run, port: int) -> Measured:
    launch = str(ROOT / "infra" / "local" / "launch.py")
    ended = subprocess.run(
        [
            *(sys.executable, "-I", "-S", launch, str(os.getpid())),
            *(sys.executable, "-m", "infra.bench.pool_process", "--port", str(port)),
            *("--messages", str(MESSAGES), "--database", str(run.directory / "smpp.db")),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        timeout=_PATIENCE,
        check=True,
    )
    return msgspec.json.decode(ended.stdout, type=Measured)


SCENARIO = Scenario(
    "pool",
    f"The pool alone, one bind, window 50: {MESSAGES:,} messages, receipts journalled",
    (RATE, CPU, LOST, UNCORRELATED, UNWRITTEN, DUPLICATES),
    run,
)
