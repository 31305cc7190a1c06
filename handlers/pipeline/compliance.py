"""The fifth layer: who a message may come from, when it may come, what it must say."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Protocol

import msgspec

from domain.compliance.opt_out_hint import says_how_to_end
from domain.compliance.quiet_hours import hours_for, next_allowed, quiet_between
from domain.compliance.rules import ComplianceRules
from domain.compliance.senders import CODES as SENDER_CODES
from domain.compliance.senders import Senders
from domain.content_rules import Action
from domain.message import INTERRUPTING, Category, MessageOrder
from domain.mode import Mode
from domain.numbering.number import facts, zones
from domain.verdict import Outcome, Verdict
from handlers.api.problems import FieldError, Problem
from handlers.pipeline.draft import Draft

_PASS: Final = Verdict("compliance")
_NO_HINT: Final = "opt_out_hint_missing"


class SenderSource(Protocol):
    """Where all tenants' senders are, in memory."""

    @property
    def value(self) -> Senders:
        """As they are now."""


class Compliance:
    """Checks senders, categories and quiet hours, in this order: what is refused in any case is
    not first put off. Without `marketing_mail`, nobody who got such a mail could unsubscribe: it is
    refused."""

    name: Final = "compliance"

    def __init__(self, senders: SenderSource, *, marketing_mail: bool = True) -> None:
        self._senders = senders
        self._marketing_mail = marketing_mail

    def check(self, draft: Draft) -> Verdict:
        """Raises Problem `compliance_refused` or `unsubscribing_impossible`. A message that would
        come in quiet hours is put off to their end, unless that leaves its plan no time."""
        order, rules = draft.order, draft.tenant.compliance
        number = order.to.get("sms") or order.to.get("whatsapp")
        country = None if number is None else facts(number).country
        flags: list[str] = []
        faults: list[FieldError] = []
        self._check_senders(draft, country, faults, flags)
        if order.category is Category.MARKETING:
            if not self._marketing_mail:
                _check_mail(order)
            _check_hint(order, rules, faults, flags)
        if faults:
            raise Problem("compliance_refused", errors=faults)
        if order.category is not Category.OTP:
            deferred = _out_of_quiet_hours(draft, country, number, flags)
            if deferred is not None:
                return deferred
        return Verdict("compliance", Outcome.PASS, flags[0], ", ".join(flags)) if flags else _PASS

    def _check_senders(
        self,
        draft: Draft,
        country: str | None,
        faults: list[FieldError],
        flags: list[str],
    ) -> None:
        order, policy = draft.order, draft.tenant.compliance.senders
        for index, step in enumerate(order.plan):
            if step.sender is None or step.channel != "sms":
                continue
            finding = self._senders.value.check(order.tenant, step.sender, country, policy)
            if finding is None:
                continue
            if finding.action is Action.REFUSE:
                faults.append(_refused_sender(draft, index, step.sender, finding.code))
            else:
                flags.append(finding.code)


def _refused_sender(draft: Draft, index: int, sender: str, code: str) -> FieldError:
    """The fault of a step's sender, where the request has it or else leaves it to the tenant."""
    plan, detail = draft.body.plan, SENDER_CODES[code]
    if plan is not None and plan[index].sender is not None:
        return FieldError(code, detail, f"/plan/{index}/sender")
    where = "/to/sms" if plan is None else f"/plan/{index}"
    default = f" `{sender}` is your account's default: its setting `defaults.senders.sms`."
    return FieldError(code, detail + default, where)


def _check_mail(order: MessageOrder) -> None:
    if order.mode is Mode.LIVE and any(step.channel == "email" for step in order.plan):
        raise Problem("unsubscribing_impossible")


def _check_hint(
    order: MessageOrder, rules: ComplianceRules, faults: list[FieldError], flags: list[str]
) -> None:
    if rules.opt_out_hint is Action.ALLOW or all(step.channel != "sms" for step in order.plan):
        return
    if says_how_to_end(order.content.text):
        return
    if rules.opt_out_hint is Action.REFUSE:
        detail = "Say how to end it, such as: Reply STOP to opt out."
        faults.append(FieldError(_NO_HINT, detail, "/content/text"))
    else:
        flags.append(_NO_HINT)


def _out_of_quiet_hours(
    draft: Draft, country: str | None, number: str | None, flags: list[str]
) -> Verdict | None:
    """The verdict on a message that had to be put off, None when it may come."""
    order, rules = draft.order, draft.tenant.compliance
    marketing = order.category is Category.MARKETING
    own = rules.marketing if marketing else rules.transactional
    hours = hours_for(own, country, order.category)
    if not hours or all(step.channel not in INTERRUPTING for step in order.plan):
        return None
    clocks = _zones(draft, number)
    if not clocks:
        flags.append("time_zone_unknown")
        return None
    due = order.send_at or order.accepted_at
    first = order.plan[0].channel in INTERRUPTING
    allowed = next_allowed(due, hours, clocks) if first else due
    needed = timedelta(seconds=sum(step.timeout for step in order.plan))
    if allowed is None or (allowed > due and allowed + needed > order.expires_at):
        raise Problem("compliance_refused", errors=[_outlasts(allowed)])
    # Later steps may fall into the quiet hours that are still to come.
    quiet = quiet_between(allowed, order.expires_at, hours, clocks)
    if allowed == due:
        if quiet:
            draft.order = msgspec.structs.replace(order, quiet=quiet)
        return None
    draft.order = msgspec.structs.replace(order, send_at=allowed, quiet=quiet)
    until = f"until {allowed:%Y-%m-%dT%H:%M:%SZ} by the clock of {clocks[0]}"
    more = f" and {len(clocks) - 1} more" if len(clocks) > 1 else ""
    return Verdict("compliance", Outcome.DEFER, "quiet_hours", until + more)


def _zones(draft: Draft, number: str | None) -> tuple[str, ...]:
    said = draft.body.recipient
    if said is not None and said.time_zone is not None:
        return (said.time_zone,)
    if number is not None and (known := zones(number)):
        return known
    usual = draft.tenant.compliance.time_zone
    return () if usual is None else (usual,)


def _outlasts(allowed: datetime | None) -> FieldError:
    end = "" if allowed is None else f" They end at {allowed:%Y-%m-%dT%H:%M:%SZ}."
    detail = "Quiet hours leave the plan no time before the message expires." + end
    return FieldError("quiet_hours_outlast_ttl", detail, "/ttl")
