"""Restate's ingress, the trusted door, over pools of kept-alive connections."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus

import msgspec

from adapters.restate.http import Answer, ConnectionGone
from adapters.restate.servers import Servers
from domain.delivery import Receipt
from domain.inbound import InboundDelivery
from domain.message import MessageOrder
from domain.ports import EngineRefused, EngineUnavailable
from domain.timeline import Record, Snapshot

# A handler that is not registered yet answers 404: that may change.
_REFUSALS = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}
)
_encode = msgspec.json.Encoder().encode
_JSON = "content-type: application/json\r\n"


class _Accepted(msgspec.Struct):
    status: str


_decode_snapshot = msgspec.json.Decoder(Snapshot).decode
_decode_accepted = msgspec.json.Decoder(_Accepted).decode
_decode_bool = msgspec.json.Decoder(bool).decode


class RestateIngress:
    """Starts messages, asks about them, and brings them receipts. Made on a running event loop.
    Of a cluster, `others` are the ingresses of its further nodes. With `direct`, what is started
    may go to its channels directly (`domain.ports.DirectDelivery`).

    Every method raises EngineUnavailable when Restate did not confirm, and may then be repeated,
    and EngineRefused when it never will.
    """

    def __init__(self, base_url: str, *others: str, direct: bool = False) -> None:
        self._http = Servers((base_url, *others))
        self._direct = direct

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def start(
        self, message_id: str, order: MessageOrder, *, traceparent: str | None, repeatable: bool
    ) -> bool:
        """Hand over a message; returns False when Restate already had it under this id."""
        headers = _JSON
        if traceparent is not None:
            headers += f"traceparent: {traceparent}\r\n"
        if repeatable:
            headers += f"idempotency-key: {message_id}\r\n"
        path = f"/restate/send/Message/{message_id}/send"
        body = _encode(msgspec.structs.replace(order, fresh=True, direct=self._direct))
        doubtful = None if repeatable else partial(_encode, order)
        body = await self._post(path, body, headers, again=doubtful)
        return not repeatable or _decode_accepted(body).status == "Accepted"

    async def status(self, message_id: str) -> tuple[MessageOrder, Record] | None:
        """The live state of a message, None when Restate holds none."""
        body = await self._post(f"/restate/call/Message/{message_id}/status")
        if not body:
            return None
        snapshot = _decode_snapshot(body)
        return snapshot.order, snapshot.record

    async def cancel(self, message_id: str) -> bool:
        """Ask for cancellation; False when the message has already ended or is not there."""
        return _decode_bool(await self._post(f"/restate/call/Message/{message_id}/cancel"))

    async def report(self, message_id: str, receipt: Receipt) -> None:
        """Bring a message a receipt through its object."""
        await self._post(f"/restate/send/Message/{message_id}/receipt", _encode(receipt), _JSON)

    async def resolve(self, ref: str, receipt: Receipt) -> None:
        """Bring a receipt straight to the awakeable that waits for it.

        Cheaper than `report`, and silently lost when nobody waits any more.
        """
        await self._post(f"/restate/awakeables/{ref}/resolve", _encode(receipt), _JSON)

    async def inbound(self, delivery: InboundDelivery) -> None:
        """Hand over a message from a person, to be told to its tenant; once for each id."""
        headers = f"{_JSON}idempotency-key: {delivery.id}\r\n"
        await self._post("/restate/send/Inbound/deliver", _encode(delivery), headers)

    async def webhook(self, call: bytes) -> None:
        """Hand over a provider's webhook, to be read by its adapter."""
        await self._post("/restate/send/AdapterReports/read", call, _JSON)

    async def wake_callbacks(self, endpoint: str) -> None:
        """Say that something waits for a tenant's callback endpoint."""
        await self._post(f"/restate/send/CallbackEndpoint/{endpoint}/tell")

    async def ready(self) -> bool:
        """True when Restate answers its health check."""
        try:
            answer = await self._http.request("GET", "/restate/health")
        except (OSError, TimeoutError):
            return False
        return answer.status == HTTPStatus.OK

    async def _post(
        self,
        path: str,
        body: bytes | None = None,
        headers: str = "",
        *,
        again: Callable[[], bytes] | None = None,
    ) -> bytes:
        """What `again` gives goes in the place of `body` when that may have arrived already."""
        try:
            answer = await self._http.request("POST", path, body, headers)
        except ConnectionGone:
            # The server closes idle connections when it likes. Repeating is safe: see above.
            answer = await self._again(path, again() if again else body, headers)
        except (OSError, TimeoutError) as error:
            raise EngineUnavailable(f"{type(error).__name__} at {path}") from error
        if answer.status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            return answer.body
        # Never the body: it can hold a stack trace.
        reason = f"HTTP {answer.status} at {path}"
        if answer.status in _REFUSALS:
            raise EngineRefused(reason)
        raise EngineUnavailable(reason)

    async def _again(self, path: str, body: bytes | None, headers: str) -> Answer:
        try:
            return await self._http.request("POST", path, body, headers)
        except (OSError, TimeoutError) as error:
            raise EngineUnavailable(f"{type(error).__name__} at {path}") from error
