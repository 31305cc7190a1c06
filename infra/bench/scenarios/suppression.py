"""[suppression] A list of ten million: imported, looked up, changed.

The import is the one that the API begins, in a process of its own, from the file to its use. The
looks are those of the layer `dnc`, key and all, in a process that does nothing else, so that its
memory is theirs: half of the addresses are on the list.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from adapters.store.schema import open_store
from adapters.store.sections import Sections
from adapters.suppression.hashing import Hasher
from adapters.suppression.index import ListLoader
from adapters.suppression.jobs import ImportJobs, ImportStatus
from adapters.suppression.store import SECTION, SuppressionStore
from domain.suppression import RULES, Reason
from infra.bench.scenario import Check, Run, Scenario, at_most, exactly, percentile

ENTRIES: Final = 10_000_000
_FIRST: Final = 20_000_000
_LOOKS: Final = 200_000
_CHANGES: Final = 5
_SECRET: Final = bytes(range(32))
_PATIENCE: Final = 900.0
_TENANT: Final = "acme"

IMPORT = at_most("import, from the file to its use", 120, "s")
LOOK = at_most("look, p99", 100, "µs")
MEMORY = at_most("memory of a process that looks", 200, "MB")
WRITER = at_most("memory of the import, at most", 200, "MB")
CHANGE = at_most("a change's way to another process", 1.0, "s")
WRONG = exactly("lost entries, and found ones that are none", 0)
REFUSED = exactly("lines that were refused", 0)


def run(run: Run) -> Sequence[Check]:
    """On SQLite, in the run's directory."""
    where, images = run.directory / "hermes.db", run.directory / "images"
    open_store(where, "hermes").close()
    jobs = ImportJobs(where, images, _SECRET)
    job = jobs.new_id()
    run.phase("writing the file")
    with jobs.file(job).open("w") as file:
        file.writelines(f"{_number(place)}\n" for place in range(ENTRIES))
    began = time.monotonic()
    jobs.begin(job, _TENANT, "sms", RULES[Reason.MANUAL].categories, "bench")
    while True:
        found = jobs.get(_TENANT, job)
        assert found is not None
        if found.status is not ImportStatus.RUNNING:
            break
        if time.monotonic() - began > _PATIENCE:
            raise TimeoutError(f"the import has not ended within {_PATIENCE:.0f} s")
        run.progress("importing", found.imported.added, ENTRIES)
        time.sleep(0.1)
    took = time.monotonic() - began
    imported = found.imported
    if found.status is ImportStatus.FAILED or imported.added != ENTRIES:
        raise RuntimeError(f"{imported.added:,} of {ENTRIES:,} were imported")
    jobs.wait()
    writer = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    run.phase("looking")
    seen = _seen(where, images, run.seed)
    run.phase("changing")
    return (
        IMPORT.check(took),
        LOOK.check(seen["p99_us"]),
        MEMORY.check(seen["memory_mb"]),
        WRITER.check(writer),
        CHANGE.check(_change(where, images)),
        WRONG.check(int(seen["wrong"])),
        REFUSED.check(imported.refused),
    )


def _number(place: int) -> str:
    return f"+45{_FIRST + place}"


def _seen(where: Path, images: Path, seed: int) -> dict[str, float]:
    """What a process finds that starts now."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(where), str(images), str(seed)],
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def look(where: Path, images: Path, seed: int) -> dict[str, float]:
    """Look addresses up, of which half are on the list."""
    before = _memory()
    hasher = Hasher(_SECRET)
    rng = random.Random(seed)
    spent, wrong = [], 0
    with _lists(where, images, hasher) as lists:
        for _ in range(_LOOKS):
            place = rng.randrange(2 * ENTRIES)
            address = _number(place)
            began = time.perf_counter()
            held = lists.find(hasher.key(_TENANT, "sms", address))
            spent.append(time.perf_counter() - began)
            wrong += bool(held) is not (place < ENTRIES)
        # Whatever the pages were that these looks needed: all of them, as after days.
        for place in range(0, ENTRIES, 100):
            wrong += not lists.find(hasher.key(_TENANT, "sms", _number(place)))
        memory = _memory() - before
    return {
        "p99_us": (percentile(spent, 99) or 0.0) * 1e6,
        "memory_mb": memory / 1e6,
        "wrong": wrong,
    }


def _change(where: Path, images: Path) -> float:
    """The longest time until another process knew of a change."""
    hasher = Hasher(_SECRET)
    store = SuppressionStore(where, hasher)
    longest = 0.0
    with _lists(where, images, hasher) as lists:
        for place in range(_CHANGES):
            entry = store.entry(_TENANT, "sms", _number(ENTRIES + place), Reason.STOP)
            store.put(_TENANT, [entry])
            began = time.monotonic()
            while not lists.find(entry.key):
                if time.monotonic() - began > _PATIENCE:
                    raise TimeoutError("a change is not seen")
                time.sleep(0.005)
            longest = max(longest, time.monotonic() - began)
    return longest


class _Following:
    """A section, looked up as it is at the moment."""

    def __init__(self, sections: Sections, loader: ListLoader) -> None:
        self._section = sections.register(SECTION, loader)

    def find(self, key: int) -> bytes:
        return self._section.value.find(key)


@contextmanager
def _lists(where: Path, images: Path, hasher: Hasher) -> Iterator[_Following]:
    sections = Sections(where)
    try:
        yield _Following(sections, ListLoader(where, images, hasher))
    finally:
        sections.close()


def _memory() -> int:
    """Octets of this process that are in memory, with what it shares with others."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmRSS":
            return int(value.split()[0]) * 1024
    raise RuntimeError("this system does not say how much memory a process has")


SCENARIO = Scenario(
    "suppression",
    f"a suppression list of {ENTRIES:,}: imported, looked up, changed",
    (IMPORT, LOOK, MEMORY, WRITER, CHANGE, WRONG, REFUSED),
    run,
)


if __name__ == "__main__":
    said = look(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.write(json.dumps(said))
