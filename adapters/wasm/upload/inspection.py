"""Have a component looked into, by a process that can do no harm."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from adapters.wasm.upload.check import Report
from adapters.wasm.upload.refusal import CHECKS, Refused

PATIENCE: Final = 60.0
"""Seconds for one component, with the wait for a processor."""

Adopt = Callable[[str, Path], None]
"""Keeps a file of native code under its component's digest. May raise OSError."""

logger = logging.getLogger(__name__)
_decode: Final = msgspec.json.Decoder(Report).decode


class Inspector:
    """Looks into components, one at a time: a process of ours has other work than compiling.

    `adopt` is given what a component that is in order was compiled to, with the component's digest,
    which is its file's name: it takes seconds, and shall not be done again.
    """

    def __init__(
        self,
        adopt: Adopt | None = None,
        *,
        patience: float = PATIENCE,
        module: str = "adapters.wasm.upload.check",
    ) -> None:
        self._adopt = adopt
        self._patience = patience
        self._module = module
        self._turn = asyncio.Semaphore(1)

    async def __call__(self, component: Path) -> None:
        """Compile it and hold it against the contract; `component` is absolute. Raises
        Refused."""
        native = component.with_name(f"{component.name}.native")
        async with self._turn:
            code, output = await self._run(component, native)
        if code == -signal.SIGXCPU or code is None:
            raise Refused("compile", "compiling it takes too much time")
        try:
            report = _decode(output)
        except msgspec.DecodeError:
            # The compiler was killed or gave up, for want of memory most of all.
            raise Refused("compile", "it cannot be compiled within 1 GiB of memory") from None
        if report.check is not None:
            check = report.check if report.check in CHECKS else "compile"
            raise Refused(check, report.finding or "it cannot be used")  # type: ignore[arg-type]
        if self._adopt is not None:
            try:
                await asyncio.to_thread(self._adopt, component.name, native)
            except OSError as error:
                # Whoever needs it compiles it.
                logger.warning("what was compiled is not kept: %s", error)

    async def _run(self, component: Path, native: Path) -> tuple[int | None, bytes]:
        """The exit code, None when it took too long, and the output."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-B", "-m", self._module, str(component), str(native)),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=DEVNULL,
            # Nothing of ours is in its environment: no key, no password.
            env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": _ROOT},
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self._patience):
                output, _ = await process.communicate()
                return process.returncode, output
        except TimeoutError:
            return None, b""
        finally:
            await _end(process)


_ROOT: Final = str(Path(__file__).parents[3])


async def _end(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
