"""What the simulator saw: counters, binds, submissions, seconds."""

import itertools
from collections import Counter, deque
from typing import Any, Final

from msgspec import Struct

from adapters.smpp.protocol.constants import Tag, status_name
from adapters.smpp.protocol.pdu import DataSm, SubmitSm
from infra.simulators.smsc.content import Part, read_text

MAX_LINKS: Final = 1_000
"""Binds remembered."""
MAX_SECONDS: Final = 3_600
"""Seconds remembered in which anything was submitted."""

_USER_MESSAGE_REFERENCE = int(Tag.USER_MESSAGE_REFERENCE)


class Link(Struct):
    """One bind and what was seen on it. Times are seconds of the epoch; `why` it ended is a
    CloseReason of the session's, or `killed` when the simulator cut it."""

    number: int
    peer: str
    system_id: str
    bind_type: str
    bound_at: float
    bound: bool = True
    closed_at: float | None = None
    why: str | None = None
    submits: int = 0
    accepted: int = 0
    throttled: int = 0
    peak_in_flight: int = 0
    enquire_links: int = 0
    receipts_sent: int = 0
    mo_sent: int = 0


class Submit(Struct, gc=False):
    """One submission, as received. `status` is None when it was deliberately not answered, and
    `receipt_at` until its first receipt that is not an intermediate notification was sent."""

    at: float
    link: int
    source: str
    destination: str
    data_coding: int
    payload: bytes
    part: Part | None
    user_message_reference: int | None
    message_id: str
    status: int | None
    identity: int
    receipt_at: float | None = None

    def as_json(self) -> dict[str, Any]:
        """For the control port."""
        return {
            "at": self.at,
            "bind": self.link,
            "source": self.source,
            "destination": self.destination,
            "text": self.text,
            "data_coding": self.data_coding,
            "part": None
            if self.part is None
            else {
                "reference": self.part.reference,
                "total": self.part.total,
                "number": self.part.number,
            },
            "user_message_reference": self.user_message_reference,
            "message_id": self.message_id,
            "status": None if self.status is None else status_name(self.status),
        }

    @property
    def text(self) -> str:
        """For people."""
        return read_text(self.payload, self.data_coding)


class Second(Struct, gc=False):
    """What was submitted in the second `t` of the epoch; `accepted` counts the unanswered, too."""

    t: int
    submits: int = 0
    accepted: int = 0
    throttled: int = 0


class Counters(Struct):
    """What `/stats` counts, since the start or the last reset.

    `submits` = `accepted` + `not_answered` + `throttled` + `refused`; the first two were taken.
    `responses_lost` were due after their link had gone. `receipts_sent` counts repetitions and
    intermediate notifications; `receipts_early` were written before their response.
    """

    submits: int = 0
    accepted: int = 0
    refused: int = 0
    throttled: int = 0
    not_answered: int = 0
    responses_lost: int = 0
    duplicates: int = 0
    receipts_sent: int = 0
    receipts_acked: int = 0
    receipts_refused: int = 0
    receipts_unanswered: int = 0
    receipts_early: int = 0
    receipts_duplicated: int = 0
    intermediate_sent: int = 0
    mo_sent: int = 0
    mo_acked: int = 0
    mo_refused: int = 0
    mo_unanswered: int = 0
    binds: int = 0
    binds_refused: int = 0
    links_killed: int = 0
    enquire_links: int = 0


class Record:
    """Everything a test can ask for afterwards."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        """Submissions remembered; the oldest are forgotten first. Counters count all."""
        self.counters = Counters()
        self.submits: deque[Submit] = deque()
        self.links: deque[Link] = deque(maxlen=MAX_LINKS)
        self.seconds: deque[Second] = deque(maxlen=MAX_SECONDS)
        self.answers: Counter[tuple[str, int]] = Counter()
        """Answers to deliveries, by what was delivered (`receipts`, `mo`) and command_status."""
        self._seen: Counter[int] = Counter()
        self._link_numbers = itertools.count(1)

    def reset(self) -> None:
        """Forget everything but the links that are bound, which begin at zero."""
        self.counters = Counters()
        self.submits.clear()
        self.seconds.clear()
        self.answers.clear()
        self._seen.clear()
        self.links = deque((link for link in self.links if link.bound), maxlen=MAX_LINKS)
        for link in self.links:
            link.submits = link.accepted = link.throttled = link.peak_in_flight = 0
            link.enquire_links = link.receipts_sent = link.mo_sent = 0

    def new_link(self, peer: str, system_id: str, bind_type: str, now: float) -> Link:
        """A bind was accepted."""
        self.counters.binds += 1
        link = Link(next(self._link_numbers), peer, system_id, bind_type, now)
        self.links.append(link)
        return link

    def second(self, now: float) -> Second:
        """The bucket for what is submitted now."""
        t = int(now)
        if self.seconds and self.seconds[-1].t >= t:
            return self.seconds[-1]
        second = Second(t)
        self.seconds.append(second)
        return second

    def submit(
        self,
        now: float,
        link: Link,
        pdu: SubmitSm | DataSm,
        payload: bytes,
        part: Part | None,
        message_id: str,
        status: int | None,
    ) -> Submit:
        """A submission was decided on; `message_id` is empty when it was not taken."""
        reference = pdu.tlvs.get(_USER_MESSAGE_REFERENCE)
        number = (part.number, part.total) if part else None
        identity = hash((pdu.destination_addr, payload, number))
        while len(self.submits) >= self.keep:
            self._forget(self.submits.popleft())
        submit = Submit(
            now,
            link.number,
            pdu.source_addr,
            pdu.destination_addr,
            pdu.data_coding,
            payload,
            part,
            int.from_bytes(reference, "big") if reference else None,
            message_id,
            status,
            identity,
        )
        self.submits.append(submit)
        # A submission that was refused does not make the next try a duplicate.
        if message_id:
            self._seen[identity] += 1
            if self._seen[identity] > 1:
                self.counters.duplicates += 1
        return submit

    def duplicates(self) -> list[dict[str, Any]]:
        """Each text that one destination was sent more than once: how often, under which ids."""
        if not self.counters.duplicates:
            return []
        found: dict[int, dict[str, Any]] = {}
        for submit in self.submits:
            times = self._seen[submit.identity] if submit.message_id else 0
            if times < 2:
                continue
            known = found.get(submit.identity)
            if known is None:
                known = {"times": times, **submit.as_json(), "message_ids": []}
                found[submit.identity] = known
            known["message_ids"].append(submit.message_id)
        return list(found.values())

    def accepted(self, destination: str | None = None) -> list[dict[str, Any]]:
        """What was taken: for each text (for each part of a long one) to a destination the ids, and
        when the first receipt of each was sent."""
        found: dict[int, dict[str, Any]] = {}
        for submit in self.submits:
            if not submit.message_id or destination not in (None, submit.destination):
                continue
            known = found.get(submit.identity)
            if known is None:
                known = {
                    "destination": submit.destination,
                    "text": submit.text,
                    "message_ids": [],
                    "receipts_at": [],
                }
                found[submit.identity] = known
            known["message_ids"].append(submit.message_id)
            known["receipts_at"].append(submit.receipt_at)
        return list(found.values())

    def _forget(self, submit: Submit) -> None:
        if submit.message_id:
            self._seen[submit.identity] -= 1
            if not self._seen[submit.identity]:
                del self._seen[submit.identity]
