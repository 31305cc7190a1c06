"""A stack whose carriers are simulators of the scenario's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.bench import ledger
from infra.bench.ledger import Books, Seen
from infra.bench.load import (
    CONNECTIONS,
    PATIENCE,
    Order,
    Sent,
    one_time_password,
    send,
)
from infra.bench.processes import Processes
from infra.bench.scenario import Check, Run
from infra.bench.smsc import Smsc, account, start_smsc
from infra.local.ports import Ports
from infra.local.stack import Stack

TENANT = "acme"
QUIET_TENANT = "globex"
EVERYTHING = ("restate", "endpoint", "pool", "api")
"""What carries an SMS; the simulators are started beside it."""
DRAIN = 60.0
"""Seconds for which the last messages are waited for."""
_WARM_UP_PATIENCE = 20.0


@dataclass(frozen=True)
class Peer:
    """A carrier to start: the simulator's flags, and what the account says beyond the ordinary."""

    name: str = "simulator"
    flags: Sequence[str] = ()
    account: Mapping[str, Any] | None = None


@dataclass
class Site:
    """A running stack, its simulators, and what was sent through it."""

    run: Run
    stack: Stack
    smscs: dict[str, Smsc]

    @property
    def smsc(self) -> Smsc:
        """The only simulator."""
        [smsc] = self.smscs.values()
        return smsc

    @property
    def log(self) -> Path:
        """The message log's file."""
        return self.stack.data_dir / "hermes.db"

    async def send(
        self,
        label: str,
        *,
        rate: float,
        count: int,
        tenant: str = TENANT,
        order: Order = one_time_password,
        insist: bool = False,
        at_once: int = 1_000,
        connections: int = CONNECTIONS,
        patience: float = PATIENCE,
        quiet: bool = False,
    ) -> Sent:
        """Load by the API, as `load.send`; progress is told unless `quiet`."""
        return await send(
            self.stack.api_url,
            self.stack.keys[tenant],
            rate=rate,
            count=count,
            label=label,
            order=order,
            insist=insist,
            at_once=at_once,
            connections=connections,
            patience=patience,
            progress=lambda done: None if quiet else self.run.progress(label, done, count),
        )

    async def warm_up(self, count: int = 100) -> None:
        """Send some and forget them: imports, caches and binds are paid for.

        Raises RuntimeError when they do not arrive: nothing after that would be worth measuring.
        """
        sent = await self.send("warm-up", rate=100, count=count, insist=True)
        books = await self.settle({TENANT: sent}, _WARM_UP_PATIENCE)
        if books.correlated != count:
            raise RuntimeError(f"only {books.correlated} of {count} messages came through healthy")
        for smsc in self.smscs.values():
            await smsc.reset()

    async def settle(self, sent: Mapping[str, Sent], patience: float = DRAIN) -> Books:
        """Wait until what each tenant sent has ended, then open the books on it."""
        deadline = time.monotonic() + patience
        self.run.phase("waiting for the last receipts")
        await ledger.drain(self.log, list(sent), patience)
        self.run.phase("counting")
        while True:
            books = await ledger.books(self.log, self.stack.admin_url, sent)
            # A message that an API took just before it died is listed only once it has ended.
            if not books.in_flight or time.monotonic() > deadline:
                return books
            await asyncio.sleep(1.0)

    async def seen(self) -> Seen:
        """What the simulators took, all together."""
        taken: Counter[str] = Counter()
        ids: defaultdict[str, set[str]] = defaultdict(set)
        for name, smsc in self.smscs.items():
            for entry in await smsc.accepted():
                taken[entry["text"]] += len(entry["message_ids"])
                ids[entry["text"]].update(f"{name}/{each}" for each in entry["message_ids"])
        return Seen(taken, dict(ids))


def asked_again(sent: Sent) -> Check:
    """What has no bar: the answers that the client repeated its request after, by code."""
    said = ", ".join(f"{code}: {many:,}" for code, many in sorted(sent.repeated.items()))
    return Check("answers that were asked for again", said or "none", "any", ok=True)


@contextlib.contextmanager
def site(
    run: Run,
    *peers: Peer,
    components: Sequence[str] = EVERYTHING,
    commands: Mapping[str, Sequence[str]] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Site]:
    """Start simulators, then a stack with an account at each; all of it ends with the block."""
    run.phase("starting")
    with Processes(run.directory) as processes:
        smscs = {peer.name: start_smsc(processes, peer.name, peer.flags) for peer in peers}
        processes.wait_ready()
        accounts = [
            account(peer.name, smscs[peer.name].port, **peer.account or {}) for peer in peers
        ]
        stack = Stack(
            ports=Ports.free(),
            data_dir=run.directory / "data",
            components=components,
            commands=commands,
            environment={"HERMES_CARRIERS": json.dumps(accounts), **(environment or {})},
        )
        with stack:
            yield Site(run, stack, smscs)
