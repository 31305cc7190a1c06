"""What a message makes restate-server do, by restate-server's own counters."""

from __future__ import annotations

import re
import urllib.request
from collections import Counter
from collections.abc import Mapping
from typing import Final

from infra.local.ports import HOST

_LINE: Final = re.compile(r"(?P<name>\w+)(?:{(?P<labels>[^}]*)})? (?P<value>\S+)")
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')
_COUNTED: Final[Mapping[str, str]] = {
    "restate_ingress_requests_total": "requests to the ingress",
    "restate_bifrost_localloglet_appends_total": "records in the log",
    "restate_invoker_enqueue_total": "invocations",
    "restate_invoker_invocation_tasks_total": "attempts of handlers",
    "restate_rocksdb_wal_bytes_total": "bytes in the log, synced",
    "restate_rocksdb_wal_synced_total": "syncs of the log",
    "restate_rocksdb_bytes_written_total": "bytes in all of RocksDB",
}
_ENTRIES: Final = "restate_usage_leader_journal_entry_count_total"
_ONLY: Final[Mapping[str, tuple[str, str]]] = {
    "restate_ingress_requests_total": ("status", "admitted"),
    "restate_invoker_invocation_tasks_total": ("status", "started"),
    "restate_rocksdb_wal_bytes_total": ("db", "local-loglet"),
    "restate_rocksdb_wal_synced_total": ("db", "local-loglet"),
}
"""Counters that exist for several values of a label, of which one is meant."""


def work(fabric: int) -> Counter[str]:
    """What restate-server has done since its start, by what each thing is called for people.
    `fabric` is the port of its node-to-node address, which serves its metrics."""
    with urllib.request.urlopen(f"http://{HOST}:{fabric}/metrics", timeout=10) as answer:
        return read(answer.read().decode())


def read(text: str) -> Counter[str]:
    """The counters of interest in Prometheus's text format."""
    found: Counter[str] = Counter()
    for line in text.splitlines():
        parsed = _LINE.fullmatch(line)
        if parsed is None:
            continue
        name, labels = parsed["name"], dict(_LABEL.findall(parsed["labels"] or ""))
        only = _ONLY.get(name)
        if only is not None and labels.get(only[0]) != only[1]:
            continue
        if name == _ENTRIES:
            found[f"journal: {labels['entry']}"] += int(float(parsed["value"]))
        elif name in _COUNTED:
            found[_COUNTED[name]] += int(float(parsed["value"]))
    return found


def each(before: Counter[str], after: Counter[str], messages: int) -> dict[str, float]:
    """What one message made it do, commonest things of a kind first."""
    gained = {name: (after[name] - before[name]) / max(messages, 1) for name in after}
    named = [name for name in _COUNTED.values() if name in gained]
    entries = sorted(name for name in gained if name not in named and gained[name] >= 0.005)
    return {name: round(gained[name], 2) for name in (*named, *entries)}
