"""What becomes of a person's STOP, START or HELP: the list is changed first, then it is answered.

The answer is a message like any other, handed to the cascade under an id that is made of who wrote
what to whom in which hour. So it is sent once however often the handler begins, and two machines
that answer each other write at most one message an hour; an answer is itself no command, and is
given only where a command changed something, or asks for help.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from adapters.restate.serde import JsonSerde
from adapters.suppression.store import Entry, SuppressionStore
from domain.channels import CHANNELS, AddressProblem
from domain.channels import plan as plans
from domain.channels.rules import ChannelProblem
from domain.ids import derived_id
from domain.inbound import InboundDelivery
from domain.message import Category, Content, MessageOrder
from domain.optout import Command, OptOutRules, Said, farewell, read
from domain.suppression import RULES, Reason

logger = logging.getLogger(__name__)

_ANSWERED_WITHIN: Final = timedelta(hours=1)
_LIFTED: Final = frozenset(reason for reason, rule in RULES.items() if rule.lifted_by_start)


class Obeyed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was done: the `command` that the tenant is told of, and the answer under its id."""

    command: Command | None = None
    reply_id: str | None = None
    reply: MessageOrder | None = None


OBEYED: JsonSerde[Obeyed] = JsonSerde(Obeyed)


class OptOuts:
    """Obeys commands. `rules` gives a tenant's, in a thread; `clock` aware UTC times."""

    def __init__(
        self,
        store: SuppressionStore,
        rules: Callable[[str], OptOutRules],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._rules = rules
        self._clock = clock

    @staticmethod
    def command(delivery: InboundDelivery) -> Said | None:
        """The command that a message is: the same each time it is asked."""
        received = delivery.event.data
        if 1 in received.missing:
            return None
        return read(received.text, received.keyword)

    async def obey(self, delivery: InboundDelivery, said: Said) -> Obeyed:
        """Change the tenant's list, and say what to answer. May be repeated."""
        if delivery.also and said.command is Command.STOP:
            return await self._obey_for_all(delivery, said)
        return await self._obey(delivery, said)

    async def _obey_for_all(self, delivery: InboundDelivery, said: Said) -> Obeyed:
        """The same for everyone who shares the number. One of them answers: the number's own
        tenant as it likes, else the first that does."""
        found = Obeyed()
        for tenant in (delivery.tenant, *delivery.also):
            obeyed = await self._obey(msgspec.structs.replace(delivery, tenant=tenant), said)
            own = bool(delivery.url) and tenant == delivery.tenant
            if own or (not delivery.url and found.reply is None):
                found = obeyed
        return found

    async def _obey(self, delivery: InboundDelivery, said: Said) -> Obeyed:
        rules = await asyncio.to_thread(self._rules, delivery.tenant)
        if not rules.keywords:
            return Obeyed()
        received = delivery.event.data
        try:
            entry = self._store.entry(
                delivery.tenant,
                received.channel,
                received.source,
                Reason.STOP,
                rules.stop_blocks,
                received.id,
            )
        except AddressProblem as problem:
            # A short code or a name wrote: nobody to be left alone, nor to be answered.
            logger.info("%s is no command of a person: %s", delivery.id, problem.code)
            return Obeyed()
        changed = True
        if said.command is Command.STOP:
            changed = await asyncio.to_thread(self._put, delivery.tenant, entry)
        elif said.command is Command.START:
            changed = bool(
                await asyncio.to_thread(self._store.lift, delivery.tenant, entry.key, _LIFTED)
            )
        text = rules.reply(said, delivery.tenant, received.source) if changed else None
        if text is not None and not delivery.url:
            text = farewell(said, received.destination, received.source)
        if text is None:
            return Obeyed(said.command)
        return Obeyed(said.command, *self._reply(delivery, said, text))

    def _put(self, tenant: str, entry: Entry) -> bool:
        """Whether it was this message that put the person on the list, now or before a crash."""
        [new] = self._store.put(tenant, [entry])
        held = () if new else self._store.held(tenant, entry.key)
        return new or any(each.source == entry.source for each in held)

    def _reply(
        self, delivery: InboundDelivery, said: Said, text: str
    ) -> tuple[str, MessageOrder] | tuple[None, None]:
        received = delivery.event.data
        now = self._clock()
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        rules = CHANNELS[received.channel]
        try:
            to = rules.parse_address(received.source)
            sender = rules.parse_sender(received.destination)
        except ChannelProblem as problem:
            logger.info("%s is not answered: %s", delivery.id, problem)
            return None, None
        hour = received.received_at.astimezone(UTC).strftime("%Y-%m-%dT%H")
        key = f"opt-out {said.command.value} {to} {sender} {hour}"
        category = Category.TRANSACTIONAL
        draft = [plans.DraftStep(received.channel, sender=sender)]
        order = MessageOrder(
            tenant=delivery.tenant,
            to={received.channel: to},
            content=rules.prepare(Content(text)),
            plan=plans.complete(draft, category=category, ttl=_ANSWERED_WITHIN),
            accepted_at=now,
            expires_at=now + _ANSWERED_WITHIN,
            category=category,
            metadata={"opt_out": said.command.value},
            reply=True,
        )
        return derived_id(delivery.tenant, key), order
