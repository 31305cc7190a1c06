"""Kill the process groups that a dead supervisor left behind.

    python -I -S reaper.py < pipe

Reads lines from standard input, `+PGID` for a group that began and `-PGID` for one that is gone.
The other end of the pipe is held by the supervisor alone, so the end of the input means that it
has ended, by whatever signal: every group still on the list is killed. This reaches what
launch.py cannot, the worker processes of a server, and works wherever there are pipes.
"""

import contextlib
import os
import signal
import sys


def _main() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        change, group = line[0], int(line[1:])
        if change == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    _main()
