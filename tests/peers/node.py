"""Peers of another make: node-smpp (npm `smpp`) as an SMSC and as an ESME, each a process.

They never skip: `make setup` installs node-smpp with everything else.
"""

import asyncio
import contextlib
import json
import shutil
from pathlib import Path

from tests.waiting import eventually

_HERE = Path(__file__).parent


async def _node(script, *arguments, **pipes):
    # Where the script is says where its packages are: node looks for node_modules upwards.
    return await asyncio.create_subprocess_exec(
        shutil.which("node") or "node",
        str(_HERE / script),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        **pipes,
    )


class NodeSmsc:
    """node_smsc.js: its port, and what it told, in order."""

    def __init__(self, process):
        self._process = process
        self.port = 0
        self.heard = []

    async def read(self):
        self.port = int(await self._process.stdout.readline())
        self._reading = asyncio.create_task(self._read())

    async def _read(self):
        while line := await self._process.stdout.readline():
            self.heard.append(json.loads(line))

    def told(self, key):
        """What has `key`: `id` (submissions), `receipt`, `bind`, `enquired`, `unbound`, `mo`…"""
        return [what for what in self.heard if key in what]

    async def told_of(self, key, times=1):
        """The same, once it was told so often."""
        return await eventually(lambda: len(self.told(key)) >= times and self.told(key))

    async def ask(self, **request):
        """A line of JSON on its standard input."""
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        await self._process.stdin.drain()

    async def stop(self):
        self._process.kill()
        await self._process.wait()
        await self._reading


@contextlib.asynccontextmanager
async def node_smsc(**options):
    """An SMSC: `async with node_smsc(receipt_delay=50, ids="hex") as smsc`. node_smsc.js says what
    the options are, and which texts choose what happens."""
    arguments = []
    for name, value in options.items():
        arguments.append("--" + name.replace("_", "-"))
        if value is not True:
            arguments.append(str(value))
    process = await _node("node_smsc.js", *arguments, stdin=asyncio.subprocess.PIPE)
    smsc = NodeSmsc(process)
    await smsc.read()
    try:
        yield smsc
    finally:
        await smsc.stop()


async def node_esme(port, **asked):
    """Let an ESME do what `asked` says, which node_esme.js explains; all it heard, in order."""
    process = await _node("node_esme.js", json.dumps({"port": port, **asked}))
    try:
        async with asyncio.timeout(20):
            told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return [json.loads(line) for line in told.splitlines()]
