"""Run a module of ours in several processes that share its port.

    python -m infra.bench.replicas COUNT MODULE

Ends them by SIGTERM, and with them when one ends: whoever started this starts all of them again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import FrameType


def main() -> None:
    """Start them and wait. The exit code is that of the first one that ends."""
    count, module = int(sys.argv[1]), sys.argv[2]
    children = [subprocess.Popen([sys.executable, "-m", module]) for _ in range(count)]

    def end(number: int, frame: FrameType | None) -> None:
        for child in children:
            child.send_signal(number)

    signal.signal(signal.SIGTERM, end)
    pid, status = os.wait()
    for child in children:
        if child.pid == pid:
            child.returncode = os.waitstatus_to_exitcode(status)
        else:
            child.terminate()
    for child in children:
        child.wait()
    sys.exit(abs(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    main()
