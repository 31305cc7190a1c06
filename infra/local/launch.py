"""Become another program that does not outlive the process that started it.

    python -I -S launch.py PARENT_PID PROGRAM [ARGUMENT ...]

On Linux the kernel kills the program when its parent is gone, however the parent ended. Elsewhere
this only starts the program, and reaper.py alone sees to the end. A file of its own, started as a
script: what Popen could run between fork and exec is not safe in a process with threads.
"""

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _main() -> None:
    parent, program, *arguments = sys.argv[1:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != int(parent):  # it died before the kernel was told
            sys.exit(1)
    os.execvp(program, [program, *arguments])  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    _main()
