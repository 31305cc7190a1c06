"""What the sandbox saw and did: requests, accepted messages, callbacks, counters."""

import itertools
import time
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any, Final, Protocol, TypeVar

import msgspec
from msgspec import Struct, field

MAX_BODY: Final = 16_384
"""Characters of a body remembered."""


class Request(Struct):
    """One HTTP request to a provider. Credentials are not remembered, only their kind.

    `status` is None as long as there is no answer; `ended` says how it went: answered, timeout,
    reset, garbage, or gone when the client left before.
    """

    at: float
    method: str
    path: str
    authorization: str
    content_type: str
    body: str
    status: int | None = None
    ended: str = "open"
    message_ids: list[str] = field(default_factory=list)


class Message(Struct):
    """One message to one recipient, accepted. `reference` is what the sender had it carry."""

    at: float
    id: str
    to: str
    sender: str
    text: str
    reference: str
    behaviour: str
    identity: int


class Attempt(Struct, omit_defaults=True):
    """One try to hand a callback over: the answer's status, or why there is none (connect,
    timeout, reset)."""

    at: float
    took_ms: float
    status: int | None = None
    error: str | None = None
    answer: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the answer was 2xx."""
        return self.status is not None and 200 <= self.status < 300


class Callback(Struct):
    """One callback and all its attempts. `state` is pending, delivered or given_up."""

    at: float
    url: str
    content_type: str
    body: str
    signature: str
    state: str = "pending"
    attempts: list[Attempt] = field(default_factory=list)


class Counters(Struct):
    """What `/stats` counts for one provider, since the start or the last reset.

    `messages` were asked for with good credentials and in the right form; each is one of
    `accepted` (answered or not), `dry_runs` (they would have been), `refused`, `throttled`,
    `failed` (5xx) and `lost` (no answer, or garbage, and not accepted). `not_answered` were cut,
    left or never answered.
    """

    requests: int = 0
    unauthorized: int = 0
    invalid: int = 0
    messages: int = 0
    accepted: int = 0
    dry_runs: int = 0
    refused: int = 0
    throttled: int = 0
    failed: int = 0
    lost: int = 0
    not_answered: int = 0
    duplicates: int = 0
    peak_in_flight: int = 0
    callbacks: int = 0
    callbacks_delivered: int = 0
    callbacks_given_up: int = 0
    callback_attempts: int = 0
    callbacks_nowhere: int = 0
    inbound: int = 0


class _Provided(Protocol):
    at: float


T = TypeVar("T", bound=_Provided)


class Record:
    """Everything that a test can ask about one provider afterwards."""

    def __init__(self, keep: int) -> None:
        self.counters = Counters()
        self.in_flight = 0
        self.answers: Counter[str] = Counter()
        """Answers to the callbacks' attempts, by status or error."""
        self.requests: deque[Request] = deque(maxlen=keep)
        self.messages: deque[Message] = deque(maxlen=keep)
        self.callbacks: deque[Callback] = deque(maxlen=keep)
        self._seen: Counter[int] = Counter()

    def keep(self, number: int) -> None:
        """Remember the newest so many of each kind from now on."""
        self.requests = deque(self.requests, maxlen=number)
        self.messages = deque(self.messages, maxlen=number)
        self.callbacks = deque(self.callbacks, maxlen=number)

    def reset(self) -> None:
        """Forget everything."""
        self.counters = Counters()
        self.answers.clear()
        self.requests.clear()
        self.messages.clear()
        self.callbacks.clear()
        self._seen.clear()

    def accepted(
        self, id_: str, *, to: str, sender: str, text: str, reference: str, behaviour: str
    ) -> None:
        """A message was accepted for one recipient; the same text to it again is a duplicate."""
        identity = hash((to, text))
        # The oldest message makes room, and what is equal to it is no duplicate any more.
        if len(self.messages) == self.messages.maxlen:
            oldest = self.messages[0].identity
            self._seen[oldest] -= 1
            if self._seen[oldest] <= 0:
                del self._seen[oldest]
        self.messages.append(
            Message(time.time(), id_, to, sender, text[:MAX_BODY], reference, behaviour, identity)
        )
        self._seen[identity] += 1
        if self._seen[identity] > 1:
            self.counters.duplicates += 1

    def duplicates(self) -> list[dict[str, Any]]:
        """Each text that one recipient was sent more than once: how often, under which ids."""
        if not self.counters.duplicates:
            return []
        found: dict[int, dict[str, Any]] = {}
        for message in self.messages:
            if self._seen[message.identity] < 2:
                continue
            known = found.setdefault(
                message.identity, {"to": message.to, "text": message.text, "ids": []}
            )
            known["ids"].append(message.id)
        return list(found.values())

    def stats(self) -> dict[str, Any]:
        """The counters, the answers to callbacks, and what is under way."""
        return {
            **msgspec.to_builtins(self.counters),
            "in_flight": self.in_flight,
            "callback_answers": dict(self.answers),
        }


def newest(kept: Iterable[T], limit: int, **wanted: str | None) -> list[dict[str, Any]]:
    """The newest `limit` of what is kept, oldest first, with only those fields as wanted."""
    asked = {name: value for name, value in wanted.items() if value is not None}
    fitting = (
        one
        for one in reversed(list(kept))
        if all(str(getattr(one, name)) == value for name, value in asked.items())
    )
    shown = [msgspec.to_builtins(one) for one in itertools.islice(fitting, limit)]
    for one in shown:
        one.pop("identity", None)
    shown.reverse()
    return shown
