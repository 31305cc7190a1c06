"""[otp-priority] One-time passwords while bulk floods the only carrier."""

from __future__ import annotations

from collections.abc import Sequence

import uvloop

from domain.message import Category
from domain.ports import LoggedMessage
from domain.timeline import Event
from infra.bench.flood import CARRIER_RATE, FLOOD_RATE, OTP_RATE, Flooded, flood, narrow_site
from infra.bench.ledger import CONSERVATION, timeline
from infra.bench.scenario import Check, Run, Scenario, at_least, below, exactly, percentile

WAIT = below("OTP, accept → submit, p99", 2.0, "s")
WHOLE = below("OTP, request due → submit, p99", 2.0, "s")
MEASURED = at_least("OTPs submitted", 1)
REFUSED = exactly("OTPs refused", 0)
FLOOD = at_least("bulk that waited for its turn", 1_000)


def run(run: Run) -> Sequence[Check]:
    """The flooding tenant's own OTPs and a quiet tenant's."""
    with narrow_site(run) as stage:
        flooded = uvloop.run(flood(stage, otps=True))
    otps = [m for m in flooded.books.ended.values() if m.order.category is Category.OTP]
    due = {i: at for sent in flooded.otps.values() for i, at in sent.due.items()}
    submitted = {m.id: at for m in otps if (at := _submitted_at(m)) is not None}
    accepted = {m.id: m.order.accepted_at.timestamp() for m in otps}
    return (
        WAIT.check(percentile([at - accepted[i] for i, at in submitted.items()], 99)),
        WHOLE.check(percentile([at - due[i] for i, at in submitted.items()], 99)),
        MEASURED.check(len(submitted)),
        REFUSED.check(sum(sum(sent.refused.values()) for sent in flooded.otps.values())),
        FLOOD.check(_waited(flooded)),
        *flooded.books.checks(flooded.seen),
    )


def _submitted_at(message: LoggedMessage) -> float | None:
    """When the carrier had taken it: a little after it was submitted."""
    at = [entry.at for entry in timeline(message) if entry.event is Event.SUBMITTED]
    return at[0].timestamp() if at else None


def _waited(flooded: Flooded) -> int:
    """Bulk that was not submitted within the OTPs' two seconds."""
    bulk = [m for m in flooded.books.ended.values() if m.order.category is not Category.OTP]
    late = 0
    for message in bulk:
        at = _submitted_at(message)
        late += at is None or at - message.order.accepted_at.timestamp() > 2.0
    return late


SCENARIO = Scenario(
    "otp-priority",
    f"{2 * OTP_RATE:.0f} OTPs/s of two tenants while one of them floods the only carrier "
    f"({FLOOD_RATE:,.0f}/s on {CARRIER_RATE:.0f}/s)",
    (WAIT, WHOLE, MEASURED, REFUSED, FLOOD, *CONSERVATION),
    run,
    duration=60.0,
)
