"""`python -m infra.bench.stepped_clock FILE MODULE`: a module whose clock is off by what FILE says.

FILE holds seconds, and is read ten times a second. Timers go by the monotonic clock, which is left
alone, as by a real step. time-machine (PyPI: time-machine) stands in for Python's clocks: what is
no Python keeps the true time. libfaketime, which fools a whole process, also stands between the
interpreter's threads and their lock: an endpoint of which it does costs five times as much.
"""

from __future__ import annotations

import logging
import runpy
import sys
import threading
import time
from pathlib import Path
from typing import Final

import time_machine

_EVERY: Final = 0.1
_log = logging.getLogger(__name__)


def follow(file: Path, clock: time_machine.Traveller) -> None:
    """Let the clock be off by what the file says, for as long as the process lives."""
    off = 0.0
    while True:
        # The thread's end would be the fault's, and nobody would see it.
        try:
            wanted = float(file.read_text())
            if wanted != off:
                clock.shift(wanted - off)
                off = wanted
        except Exception:
            _log.exception("the clock does not follow %s", file)
        time.sleep(_EVERY)


def main() -> None:
    """Run the module that the command line names."""
    file, module = Path(sys.argv[1]), sys.argv[2]
    sys.argv[1:] = sys.argv[3:]
    # The clock is never given back: the process keeps it as long as it lives.
    clock = time_machine.travel(time.time(), tick=True).start()
    threading.Thread(target=follow, args=(file, clock), name="clock", daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
