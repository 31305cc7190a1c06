"""What the core needs from the outside world, stated as protocols that adapters implement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.billing.settlement import Settled
from domain.callback import Telling
from domain.delivery import DeliveryRequest, Submission
from domain.failures import Failure
from domain.message import Category, MessageOrder
from domain.tenancy import Mode, Scope, Tenant
from domain.timeline import Entry, Record, Status


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: the tenant that an API key belongs to, what the key may do, and what becomes
    of its messages."""

    tenant: str
    key_id: str
    scopes: frozenset[Scope] = frozenset()
    mode: Mode = Mode.LIVE


class KeyRing(Protocol):
    """Looks up API keys without a query a request."""

    def authenticate(self, presented: str) -> Principal | None:
        """The key's owner, or None for a key that is unknown, malformed, expired or revoked."""


class TenantDirectory(Protocol):
    """Looks up tenants without a query a request."""

    def tenant(self, tenant: str) -> Tenant | None:
        """A tenant with its settings, None when there is none."""


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """One row of the message log. `record` is None until the message has ended. `bill` is what the
    ledger has for its attempts."""

    id: str
    tenant: str
    status: Status
    channel: str | None
    created_at: datetime
    ended_at: datetime | None
    order: MessageOrder
    record: Record | None
    late: tuple[Entry, ...] = ()
    callbacks: tuple[Telling, ...] = ()
    bill: tuple[Settled, ...] = ()


@dataclass(frozen=True, slots=True)
class MessageQuery:
    """A tenant's list request. `created_after` is inclusive, `created_before` exclusive.

    `before` is the position of the last row of the page before: newest rows come first. Live
    messages and those of test keys are two lists.
    """

    tenant: str
    limit: int
    mode: Mode = Mode.LIVE
    statuses: tuple[Status, ...] = ()
    channel: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    before: tuple[datetime, str] | None = None


class MessageLog(Protocol):
    """The list of messages: an index beside Restate, which owns what is in flight."""

    async def accepted(self, message_id: str, order: MessageOrder) -> None:
        """Add a message that Restate has taken; a row that is there already is left alone."""

    async def started(self, message_id: str, order: MessageOrder) -> None:
        """Turn a scheduled message's row to processing."""

    async def progressed(
        self, message_id: str, order: MessageOrder, entries: Sequence[tuple[int, Entry]]
    ) -> None:
        """Tell the tenant's endpoints of lines of the timeline, given with their places, that
        they follow (`MessageOrder.tell`); each once."""

    async def ended(self, message_id: str, order: MessageOrder, record: Record) -> None:
        """Write the final record, whether or not the row is there; repeating it is harmless."""

    async def late_receipt(self, message_id: str, entry: Entry) -> None:
        """Add a receipt that came after the end; the same entry is added once."""

    async def get(self, message_id: str, *, tenant: str | None = None) -> LoggedMessage | None:
        """The message's row with its late receipts; only if it is this `tenant`'s."""

    async def list(self, query: MessageQuery) -> list[LoggedMessage]:
        """A tenant's newest messages first."""


class SecondLook(Protocol):
    """What may have changed since a message was accepted: asked before it is sent, where that is
    later than at once."""

    async def refusal(self, order: MessageOrder, channel: str) -> Failure | None:
        """Why the message may not be sent on a channel now: RECIPIENT_BLOCKED there, or
        ACCOUNT_SUSPENDED; None when it may. Raises what the database raises: then nobody knows, and
        it is asked again."""


class DirectDelivery(Protocol):
    """The way to the delivery services that takes no step of Restate's.

    What it may be trusted with: a service knows an attempt again by (message, attempt), and says
    what became of it instead of sending it twice. So whoever gets no answer here may ask the same
    by Restate.
    """

    async def deliver(
        self, service: str, request: DeliveryRequest, patience: float
    ) -> Submission | None:
        """A service's answer; None when it cannot be had here, or not within `patience` seconds:
        then nobody knows how far the attempt is. Raises nothing but cancellation."""


class AttemptJournal(Protocol):
    """Remembers which attempts a stateless channel has begun, across crashes."""

    async def begin(self, message: str, attempt: int) -> bool:
        """Note that the attempt begins; False when it was begun before. Durable on return."""

    async def settle(self, message: str, attempt: int, submission: Submission) -> None:
        """Note what became of the attempt. One that found the provider busy may begin again."""

    async def outcome(self, message: str, attempt: int) -> Submission:
        """What became of an attempt that was begun before: unknown when nobody noted it."""

    async def known(self, message: str, attempt: int) -> Submission | None:
        """The same; None for an attempt that was never begun."""


class EngineUnavailable(Exception):
    """Restate cannot be reached or does not answer: the caller may try again later."""


class EngineRefused(Exception):
    """Restate will never take this: repeating it is useless."""


class CascadeEngine(Protocol):
    """The trusted door to the Message object."""

    async def start(
        self, message_id: str, order: MessageOrder, *, traceparent: str | None, repeatable: bool
    ) -> bool:
        """Hand over a message; returns False when Restate already had it under this id.

        Only a `repeatable` one (with an idempotency key) is checked for that. Raises
        EngineUnavailable when Restate did not confirm.
        """

    async def status(self, message_id: str) -> tuple[MessageOrder, Record] | None:
        """The live state of a message, None when Restate holds none. Raises EngineUnavailable."""

    async def cancel(self, message_id: str) -> bool:
        """Ask for cancellation; False when the message has already ended or is not there.

        Raises EngineUnavailable.
        """

    async def ready(self) -> bool:
        """True when Restate answers its health check."""


class ProviderChoice(Protocol):
    """Which providers a step may take: the place of a router."""

    def choose(self, tenant: str, channel: str, named: str | None) -> tuple[str, ...] | None:
        """The adapters to try, in order, `domain.providers.OWN` standing for the channel's own
        service; () leaves it to the channel's own. `named` is the one that the client wants.

        None when nobody could carry the step.
        """


class Pressure(Protocol):
    """What lies before the providers: how long it takes, and how much more may come."""

    def excess(self, tenant: str, queue: str | None, category: Category) -> float:
        """Seconds by which what waits is longer than it may be, for a message that is due now; 0
        while there is room. `queue` is the channel of ours that its first step waits for, if it
        does. `admit` refuses whatever this does, and may refuse more."""

    async def admit(self, tenant: str, queue: str | None, category: Category) -> float:
        """Whether a message that is due now may be handed over: 0 when it may, perhaps after a
        pause, otherwise seconds after which to ask again."""

    def standstill(self, channel: str) -> str | None:
        """Why nothing at all gets through on this channel now, for people; None while it does, or
        while nobody knows."""

    def handed_over(self, tenant: str, queue: str | None, *, there: bool) -> None:
        """What became of a message that was admitted: `there` once Restate has it, and had not
        before. To be told of each."""


class OperatorLookup(Protocol):
    """Which network serves a number now, as far as that is known at once."""

    def operator_of(self, number: str) -> str | None:
        """MCC and MNC of a number in E.164, None when it is not in memory; then it is looked up
        meanwhile, where anybody can be asked."""


class NumberLookup(Protocol):
    """Somebody who can be asked about a number: an HLR, or a service in front of several."""

    async def look_up(self, number: str) -> str | None:
        """MCC and MNC of the network that serves a number in E.164 now, None for a number that
        nobody serves. Raises LookupUnavailable when there is no answer."""


class LookupUnavailable(Exception):
    """A number lookup got no answer: ask again later."""
