"""The worker: door, workflows and activities in one process, beside the bind pool.

One process, because the pool's sockets live in it, and because a workflow that is begun here gets
its first task with the server's answer instead of from a queue ("eager start").
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
from pathlib import Path

import uvloop
from aiohttp import web
from temporalio.client import Client
from temporalio.service import GrpcCompression
from temporalio.worker import PollerBehaviorSimpleMaximum, UnsandboxedWorkflowRunner, Worker

from infra.local.ports import HOST
from tests.comparison.temporal.cascade import TASK_QUEUE, Cascade
from tests.comparison.temporal.channels import Channels
from tests.comparison.temporal.door import Door

_CACHED = 20_000
_AT_ONCE = 1_000
_POLLERS = 10
_LOOK_AGAIN = 0.1


async def connect(target: str) -> Client:
    """A client of the server, as soon as that answers."""
    while True:
        try:
            return await Client.connect(target, grpc_compression=GrpcCompression.NONE)
        except RuntimeError:
            await asyncio.sleep(_LOOK_AGAIN)


async def serve(arguments: argparse.Namespace) -> None:
    """Work until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await connect(arguments.target)
    channels = Channels(
        arguments.directory, client, smsc=arguments.smsc_port, mail=arguments.mail_port
    )
    worker = Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[Cascade],
        activities=[channels.submit_sms, channels.send_mail],
        # The sandbox re-imports modules to find what is not deterministic; it only costs here.
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=_CACHED,
        max_concurrent_workflow_tasks=_AT_ONCE,
        max_concurrent_local_activities=_AT_ONCE,
        no_remote_activities=True,
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(_POLLERS),
    )
    async with worker:
        await channels.recover()
        # As Hermes does in its processes: infra/processes/serving.py.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        door = web.AppRunner(Door(client).app(), access_log=None)
        await door.setup()
        await web.TCPSite(door, HOST, arguments.port).start()
        await stop.wait()
        await door.cleanup()
    await channels.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.comparison.temporal.worker")
    parser.add_argument("--target", required=True, help="the server's HOST:PORT")
    parser.add_argument("--port", type=int, required=True, help="the door's")
    parser.add_argument("--smsc-port", type=int, required=True)
    parser.add_argument("--mail-port", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True, help="for the journals")
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
