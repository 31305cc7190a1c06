"""Which providers each step of a message may take: adapters, and Hermes's own services."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final
from zlib import crc32

import msgspec

from adapters.routing.library import NO_ROUTES, Routing
from adapters.routing.prices import OWN_SERVICES
from adapters.smpp.flow.pressure import CarrierReport
from adapters.wasm.installed import Registry
from domain.channels import CHANNELS
from domain.message import MessageOrder, Step
from domain.mode import Mode
from domain.ports import ProviderChoice
from domain.providers import OWN
from domain.routing.destinations import digits_of
from domain.routing.explanation import Asked, Explanation, explain
from domain.routing.question import WELL, Candidate, Condition, NoRoute, Question
from domain.routing.router import Ranking
from domain.routing.routes import Kind, Route
from domain.routing.table import RouteTable, way_of

Carriers = Callable[[], Mapping[str, CarrierReport]]
"""The bind pools' carriers, as they last said; the same object between two answers."""
_SICK: Final = Condition(False, "its health checks fail")
_KEPT: Final = 5_000
"""Tenants' lists of adapters that are kept."""
_OF_CARRIERS: Final = "carriers"
"""The route of Hermes's own SMS, as long as no pool has said which carriers there are."""


class TenantsChoice:
    """A ProviderChoice to which a carrier or route that is not the tenant's is one that there is
    not."""

    def __init__(self, inner: ProviderChoice, router: ProviderRouter) -> None:
        self._inner = inner
        self._router = router

    def choose(self, tenant: str, channel: str, named: str | None) -> tuple[str, ...] | None:
        """See `domain.ports.ProviderChoice`."""
        found = self._inner.choose(tenant, channel, named)
        if named is None or found != ():
            return found
        return () if self._router.may_name(tenant, channel, named) else None


class ProviderRouter:
    """Puts the providers of each step into the router's order.

    Adapters are a tenant's own, and each is a route by itself unless a route names it. Of the
    carriers only the best counts here: which of them takes an attempt, the bind pool decides when
    it hands it over.
    """

    def __init__(self, routing: Routing, registry: Registry, carriers: Carriers) -> None:
        self._routing = routing
        self._registry = registry
        self._carriers = carriers
        self._reported: Mapping[str, CarrierReport] | None = None
        self._implicit = NO_ROUTES
        self._own = _own_services()
        self._extra: dict[tuple[str, str], tuple[tuple[object, ...], tuple[Candidate, ...]]] = {}

    def order(self, message_id: str, order: MessageOrder) -> MessageOrder:
        """The message with the providers of its steps in order. Raises NoRoute.

        Steps with one provider, and nothing that an operator or the tenant said about it, cost next
        to nothing.
        """
        if order.mode is not Mode.LIVE:
            return order
        table = self._routing.table(self.implicit())
        ruled = not self._routing.leaves_it_to_hermes(order.tenant)
        steps: list[Step] | None = None
        for number, step in enumerate(order.plan):
            said = step.adapters or table.is_routed(step.channel)
            if step.provider is not None:
                if said:
                    self._check_named(table, message_id, order, step, number)
                continue
            if not (said or ruled):
                continue
            ordered = self._step(message_id, order, step, number)
            if ordered is not step:
                steps = list(order.plan) if steps is None else steps
                steps[number] = ordered
        return order if steps is None else msgspec.structs.replace(order, plan=tuple(steps))

    def ways(self, message_id: str, order: MessageOrder, step: Step) -> tuple[str, ...] | None:
        """What price lists call the carriers or adapters that a step may take, whether they are up
        or not; None as long as no pool has said which carriers there are."""
        if step.provider is not None and step.adapters:
            return step.adapters
        question = _question(message_id, order, step)
        own = OWN_SERVICES.get(step.channel, "")
        if step.provider != own:
            question.named = step.provider
        extra = self._adapters(order.tenant, step.channel, step.adapters)
        found = []
        for option in self._routing.rank(question, self.implicit(), self, extra).options:
            if option.route is _ANY_CARRIER:
                return None
            found.append(own if option.route.kind is Kind.OWN else option.route.provider)
        return tuple(found)

    def explain(self, asked: Asked) -> Explanation:
        """What would become of a message now, in full. Slow: for people."""
        question = asked.question()
        tenant, channel = question.tenant, question.channel
        installed = [
            one.adapter
            for one in self._registry.all_active()
            if one.tenant == tenant and channel in one.manifest.channels
        ]
        implicit, extra = self.implicit(), self._adapters(tenant, channel, installed)
        ranking = self._routing.rank(question, implicit, self, extra)
        names = [route.name for route in self._routing.table(implicit).implicit]
        dismissed = self._routing.dismissed(question, implicit, self, extra)
        return explain(ranking, dismissed, [*names, *(c.route.name for c in extra)])

    def implicit(self) -> tuple[Route, ...]:
        """The carriers and Hermes's own services, each as a route by itself; the same object until
        they change."""
        reported = self._carriers()
        if reported is not self._reported:
            carriers = tuple(
                Route(name, "sms", provider=name, prefixes=report.prefixes)
                for name, report in reported.items()
            )
            implicit = (*(carriers or (_ANY_CARRIER,)), *self._own)
            if implicit != self._implicit:
                self._implicit = implicit
            self._reported = reported
        return self._implicit

    def of(self, route: Route, question: Question) -> Condition | None:
        """See `domain.routing.question.Conditions`."""
        if route.kind is Kind.OWN:
            return WELL
        if route.kind is Kind.CARRIER:
            reported = self._carriers()
            if not reported or route is _ANY_CARRIER:
                return WELL
            report = reported.get(route.provider)
            if report is None:
                return None
            if report.trouble is not None:
                return Condition(False, report.trouble)
            return Condition(True, None, report.wait) if report.wait else WELL
        tenant, channel = question.tenant, question.channel
        installed = self._registry.active(tenant, route.provider)
        if installed is None or channel not in installed.manifest.channels:
            return None
        well = any(one is installed for one in self._registry.choose(tenant, channel))
        return WELL if well else _SICK

    def has_adapter(self, tenant: str, adapter: str, channel: str) -> bool:
        """See `domain.routing.coverage.HasAdapter`."""
        installed = self._registry.active(tenant, adapter)
        return installed is not None and channel in installed.manifest.channels

    # One step

    def _step(self, message_id: str, order: MessageOrder, step: Step, number: int) -> Step:
        question = _question(message_id, order, step)
        extra = self._adapters(order.tenant, step.channel, step.adapters)
        ranking = self._routing.rank(question, self.implicit(), self, extra)
        names = _names(ranking)
        if not names:
            raise NoRoute(number, None)
        if len(names) == 1:
            alone = () if names[0] == OWN else (names[0],)
            if alone == step.adapters:
                return step
            return msgspec.structs.replace(step, adapters=alone)
        return msgspec.structs.replace(step, adapters=names, route=ranking.choice())

    def _check_named(
        self, table: RouteTable, message_id: str, order: MessageOrder, step: Step, number: int
    ) -> None:
        """A provider that the client names is to be one of the tenant's routes."""
        if step.adapters:
            if self._routing.closed(order.tenant, step.channel, step.adapters[0]):
                raise NoRoute(number, step.provider)
            return
        question = _question(message_id, order, step)
        if step.provider != OWN_SERVICES.get(step.channel):
            question.named = step.provider
        if not any(c.route.kind is not Kind.ADAPTER for c in table.candidates(question)):
            raise NoRoute(number, step.provider)

    def may_name(self, tenant: str, channel: str, name: str) -> bool:
        """Whether a carrier, a route or Hermes's own service of this name is there for the tenant.
        True for every name as long as no pool has said which carriers there are."""
        if channel == "sms" and not self._carriers():
            return True
        return any(
            name in (route.name, route.provider or OWN_SERVICES.get(channel))
            for route in self._routing.table(self.implicit()).of(channel)
            if route.kind is not Kind.ADAPTER
            and route.enabled
            and (not route.tenants or tenant in route.tenants)
        )

    def _adapters(self, tenant: str, channel: str, names: Sequence[str]) -> tuple[Candidate, ...]:
        """Those of the tenant's adapters that no route names, the same object until they change."""
        if not names:
            return ()
        found = [one for name in names if (one := self._registry.active(tenant, name)) is not None]
        table = self._routing.table(self.implicit())
        state = (table, *((one.adapter, one.priority) for one in found))
        key = (tenant, channel)
        known = self._extra.get(key)
        if known is not None and known[0] == state:
            return known[1]
        named = {r.provider for r in table.of(channel) if r.kind is Kind.ADAPTER}
        extra: list[Candidate] = []
        for one in found:
            if one.adapter not in named:
                route = Route(
                    one.adapter,
                    channel,
                    kind=Kind.ADAPTER,
                    provider=one.adapter,
                    priority=one.priority,
                )
                place = len(table.routes) + len(extra)
                extra.append(Candidate(route, 0, False, place, way_of(route, tenant)))
        if len(self._extra) >= _KEPT:
            self._extra.clear()
        candidates = tuple(extra)
        self._extra[key] = (state, candidates)
        return candidates


_ANY_CARRIER: Final = Route(_OF_CARRIERS, "sms", provider=_OF_CARRIERS)


def _own_services() -> tuple[Route, ...]:
    return tuple(
        Route(name, name, kind=Kind.OWN)
        for name, rules in CHANNELS.items()
        if rules.own is not None and name != "sms"
    )


def _names(ranking: Ranking) -> tuple[str, ...]:
    """The providers as a step has them, in the order of their best routes."""
    names: dict[str, None] = {}
    for option in ranking.options:
        route = option.route
        names.setdefault(route.provider if route.kind is Kind.ADAPTER else OWN)
    return tuple(names)


def _question(message_id: str, order: MessageOrder, step: Step) -> Question:
    known = order.recipient
    kind = None if known is None else known.kind
    return Question(
        order.tenant,
        step.channel,
        digits_of(step.channel, order.to[step.channel]),
        None if known is None else known.country,
        None if known is None else known.operator,
        None if kind is None else kind.value,
        order.category,
        step.sender,
        None,
        crc32(message_id.encode()),
    )
