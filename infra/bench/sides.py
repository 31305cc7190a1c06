"""The other side of a mixed load: each text where providers list them all, and totals elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from domain.ports import LoggedMessage
from domain.timeline import Event
from infra.bench.ledger import DISAGREEMENTS, UNFLAGGED, Books, Seen, timeline
from infra.bench.sandbox import Mailbox, Sandbox
from infra.bench.scenario import Bar, Check, exactly
from infra.bench.site import Site

MAILS: Final = exactly("mails that the log and the providers count differently", 0)
PUSHES: Final = exactly("pushes that the log and the provider count differently", 0)
BARS: Final[tuple[Bar, ...]] = (DISAGREEMENTS, UNFLAGGED, MAILS, PUSHES)


@dataclass(frozen=True, slots=True)
class Sides:
    """Each text that was taken as an SMS, and how many `mails` and `pushes` were counted."""

    sms: Seen
    mails: int
    pushes: int

    def since(self, before: Sides) -> Sides:
        """The same with what was counted after `before`."""
        return Sides(self.sms, self.mails - before.mails, self.pushes - before.pushes)

    def checks(self, books: Books, unsure: Collection[str]) -> tuple[Check, ...]:
        """The bars of BARS. `unsure` are texts of refused requests that may have been taken all
        the same: that is the refusal's fault, and it has its own bar."""
        sms, ended = self.sms.without(unsure), list(books.ended.values())
        untold = len(unsure) + len(books.in_flight)
        return (
            DISAGREEMENTS.check(len(books.disagreeing(sms, "sms"))),
            UNFLAGGED.check(len(books.without_flag(sms, "sms"))),
            MAILS.check(apart(self.mails, ended, "email", untold)),
            PUSHES.check(apart(self.pushes, ended, "push", untold)),
        )


async def sides(site: Site) -> Sides:
    """What was taken until now by the carriers, the mail sink and the sandbox's providers."""
    sandbox, mailbox = Sandbox(site.stack.providers_url), Mailbox(site.stack.mail_url)
    seen = await site.seen()
    # Its adapter is the next choice for what the carrier does not take.
    elsewhere = await sandbox.taken("twilio")
    return Sides(
        Seen(Counter(seen.taken) + elsewhere, seen.ids),
        await mailbox.accepted() + await sandbox.accepted("sendgrid"),
        await sandbox.accepted("fcm"),
    )


def apart(taken: int, messages: Iterable[LoggedMessage], channel: str, untold: int) -> int:
    """By how much a count is not what these messages' timelines say. `untold` is how many more may
    have been taken by messages of which there is no timeline."""
    events = [e.event for m in messages for e in timeline(m) if e.channel == channel]
    least = events.count(Event.SUBMITTED)
    most = least + events.count(Event.OUTCOME_UNKNOWN) + untold
    return max(least - taken, taken - most, 0)
