"""Which carriers an attempt may take, in which order, and what became of the choice."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Final
from zlib import crc32

import msgspec

from adapters.routing.library import Routing
from adapters.smpp.carriers.carrier import Carrier
from adapters.smpp.carriers.config import CarrierConfig
from adapters.smpp.carriers.mesh import Mesh, UnknownCarrier
from adapters.smpp.store.journal import Part
from domain.delivery import DeliveryRequest, Receipt, Submission, SubmissionState
from domain.message import Level
from domain.routing.choice import Why
from domain.routing.destinations import calling_code, digits_of
from domain.routing.explanation import Asked, Explanation, explain
from domain.routing.quality import Outcome, outcome_of
from domain.routing.question import WELL, Condition, Question
from domain.routing.router import Ranking
from domain.routing.routes import Kind, Route

CHANNEL: Final = "sms"
_REMEMBERED: Final = 10_000
"""Messages whose failed carriers are known; the oldest go first."""
_ANSWERED: Final = (SubmissionState.TAKEN, SubmissionState.UNKNOWN)


def way(carrier: str) -> str:
    """What a carrier's quality is counted under; see `domain.routing.table.way_of`."""
    return f"{Kind.CARRIER.value}:{carrier}"


class Routed:
    """An attempt's carriers, best first; those that are down at the end."""

    __slots__ = ("_chosen", "_ranking", "carriers")

    def __init__(
        self,
        carriers: list[Carrier],
        ranking: Ranking | None = None,
        chosen: Counter[tuple[str, Why]] | None = None,
    ) -> None:
        self.carriers = carriers
        self._ranking = ranking
        self._chosen = chosen

    def told(self, submission: Submission) -> Submission:
        """The answer with the choice that led to it, where there was one."""
        ranking = self._ranking
        if ranking is None or submission.provider is None or len(ranking.options) < 2:
            return submission
        if submission.state is SubmissionState.BUSY:
            return submission
        taken = next((o for o in ranking.options if o.route.provider == submission.provider), None)
        if taken is None:
            return submission
        choice = ranking.choice(taken.route.name)
        if self._chosen is not None and choice is not None:
            self._chosen[choice.route, choice.why] += 1
        return msgspec.structs.replace(submission, route=choice)


class CarrierChoice:
    """Chooses for a bind pool, and counts how well the carriers do.

    A message that comes again after a carrier failed it takes another one, if there is one.
    `chosen` counts the choices by route and reason, where there was one.
    """

    def __init__(self, mesh: Mesh, routing: Routing | None = None) -> None:
        self._mesh = mesh
        self._routing = routing or Routing()
        self._quality = self._routing.quality
        self._configs: list[CarrierConfig] = []
        self._implicit: tuple[Route, ...] = ()
        self._failed: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self.chosen: Counter[tuple[str, Why]] = Counter()

    def choose(self, request: DeliveryRequest) -> Routed:
        """The carriers that a request may take, whatever their state."""
        implicit = self.implicit()
        table = self._routing.table(implicit)
        if (
            len(implicit) < 2
            and not table.explicit
            and self._routing.leaves_it_to_hermes(request.tenant)
        ):
            # One carrier, and nothing that anybody said about it.
            alone = self._mesh.candidates(request.provider, request.to)
            # Another may have taken its place since somebody said which can be paid for.
            return Routed([one for one in alone if _payable(one, request)])
        ranking = self._routing.rank(self.question(request), implicit, self)
        if request.carriers:
            ranking = ranking.among(request.carriers)
        carriers = dict.fromkeys(self._mesh.get(o.route.provider) for o in ranking.options)
        return Routed(list(carriers), ranking, self.chosen)

    def providers(self, named: str | None) -> tuple[str, ...]:
        """The carriers that an attempt may come to, whatever it is; `named` is the carrier or
        route that its client asks for."""
        implicit = self.implicit()
        if named is None:
            return tuple(route.provider for route in implicit)
        return tuple(
            route.provider
            for route in self._routing.table(implicit).of(CHANNEL)
            if named in (route.name, route.provider)
        )

    def question(self, request: DeliveryRequest) -> Question:
        """What the router is asked about a request."""
        digits = digits_of(CHANNEL, request.to)
        known = request.recipient
        country = None if known is None else known.country
        if country is None and self._routing.table(self._implicit).asks_countries(CHANNEL):
            from domain.numbering.number import facts

            country = facts(f"+{digits}").country
        kind = None if known is None else known.kind
        return Question(
            request.tenant,
            CHANNEL,
            digits,
            country,
            None if known is None else known.operator,
            None if kind is None else kind.value,
            request.category,
            request.sender,
            request.provider,
            crc32(request.message.encode()),
            self._failed.get(request.message, ()),
        )

    def explain(self, asked: Asked) -> Explanation:
        """What would become of a message now, in full. Slow: for people."""
        implicit = self.implicit()
        question = asked.question()
        ranking = self._routing.rank(question, implicit, self)
        names = [route.name for route in self._routing.table(implicit).implicit]
        dismissed = self._routing.dismissed(question, implicit, self)
        return explain(ranking, dismissed, names)

    def implicit(self) -> tuple[Route, ...]:
        """The carriers, each as a route by itself; the same object until they change."""
        configs = [carrier.config for carrier in self._mesh.carriers]
        if configs != self._configs:
            self._configs = configs
            self._implicit = tuple(
                Route(config.name, CHANNEL, provider=config.name, prefixes=config.prefixes)
                for config in configs
            )
        return self._implicit

    def of(self, route: Route, question: Question) -> Condition | None:
        """See `domain.routing.question.Conditions`."""
        if route.kind is not Kind.CARRIER:
            return None
        try:
            carrier = self._mesh.get(route.provider)
        except UnknownCarrier:
            return None
        if not carrier.usable:
            return Condition(False, carrier.why_not())
        if not carrier.queued:
            return WELL
        return Condition(True, None, carrier.queued / max(carrier.drain_rate, 1.0))

    # What becomes of it

    def answered(self, request: DeliveryRequest, submission: Submission) -> None:
        """Count an answer."""
        carrier, failure = submission.provider, submission.failure
        if carrier is None or submission.state is SubmissionState.BUSY:
            return
        at = (submission.begun_at or submission.at).timestamp()
        code = calling_code(digits_of(CHANNEL, request.to))
        if submission.state in _ANSWERED:
            self._quality.sent(way(carrier), code, at)
        elif failure is not None and outcome_of(failure.code) is Outcome.FAILED:
            self._quality.sent(way(carrier), code, at)
            self._quality.failed(way(carrier), code, at)
        if failure is not None and failure.of_provider:
            self._note_failed(request.message, carrier)

    def reported(self, part: Part, receipt: Receipt) -> None:
        """Count the receipt that settles an attempt; `part` is one of the attempt's."""
        carrier, sent_at = part.carrier, part.begun_at
        code = calling_code(part.destination)
        if receipt.failure is None:
            if receipt.level is not None and receipt.level.reaches(Level.DELIVERED):
                self._quality.delivered(way(carrier), code, sent_at, receipt.at.timestamp())
            return
        if outcome_of(receipt.failure.code) is Outcome.FAILED:
            self._quality.failed(way(carrier), code, sent_at)
        if receipt.failure.of_provider:
            self._note_failed(part.message, carrier)

    def _note_failed(self, message: str, carrier: str) -> None:
        known = self._failed.pop(message, ())
        self._failed[message] = known if carrier in known else (*known, carrier)
        if len(self._failed) > _REMEMBERED:
            self._failed.popitem(last=False)


def _payable(carrier: Carrier, request: DeliveryRequest) -> bool:
    return not request.carriers or carrier.name in request.carriers
