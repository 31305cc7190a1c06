"""An ESME for the simulator's tests, on our own session."""

import asyncio

from adapters.smpp.protocol.pdu import BindTransceiver, SubmitSm
from adapters.smpp.protocol.receipt import parse_receipt
from adapters.smpp.protocol.session import connect

BIND = BindTransceiver("hermes", "hermes")


class Esme:
    """A session, and the receipts it was given, with their order among the responses."""

    def __init__(self):
        self.receipts = asyncio.Queue()
        self.events = []
        self.acknowledges = True
        self.answer = 0

    async def bind(self, port, bind=BIND, window=50, **more):
        self.session = await connect(
            "127.0.0.1", port, bind=bind, on_deliver=self._deliver, window=window, **more
        )
        return self

    def _deliver(self, session, sequence, pdu):
        self.events.append("receipt")
        self.receipts.put_nowait((parse_receipt(pdu), pdu))
        if self.acknowledges:
            session.acknowledge(sequence, pdu.command_id, self.answer)

    async def submit(self, destination, text=b"hello", **more):
        outcome = await self.session.submit(message(destination, text, **more))
        self.events.append("response")
        return outcome

    async def flood(self, times, destination="4520009902"):
        """Submit so many at once; the statuses."""
        outcomes = await asyncio.gather(
            *(self.session.submit(message(destination, b"%d" % n)) for n in range(times))
        )
        return [status for status, _ in outcomes]

    async def receipt(self):
        return (await self.receipts.get())[0]


def message(destination, text=b"hello", *, reference=None, **more):
    """A submit_sm that asks for a receipt."""
    fields = {
        "source_addr": "HERMES",
        "destination_addr": destination,
        "registered_delivery": 1,
        "short_message": text,
        "tlvs": {} if reference is None else {0x0204: reference.to_bytes(2, "big")},
    }
    return SubmitSm(**{**fields, **more})
