"""From what a client says about the cascade to a plan with every default filled in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from domain.channels import CHANNELS
from domain.message import MIN_STEP_TIMEOUT, Category, Level, Step

CODES: Final[dict[str, str]] = {
    "timeout_beyond_ttl": (
        "The steps' timeouts, one after the other, last longer than the message's time to live."
    ),
}


@dataclass(frozen=True, slots=True)
class DraftStep:
    """A step as a client asks for it: None stands for the channel's default.

    The channel must be a known one.
    """

    channel: str
    timeout: float | None = None
    success: Level | None = None
    failover_on: tuple[str, ...] | None = None
    provider: str | None = None
    sender: str | None = None
    adapters: tuple[str, ...] = ()


class PlanProblem(Exception):
    """The plan cannot be carried out. `step` counts from 0; None when no single one is at fault."""

    def __init__(self, code: str, detail: str, step: int | None) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.step = step


def default_draft(channels: Collection[str]) -> list[DraftStep]:
    """Every channel once, in the registry's order."""
    return [DraftStep(name) for name in CHANNELS if name in channels]


def complete(draft: Sequence[DraftStep], *, category: Category, ttl: timedelta) -> tuple[Step, ...]:
    """Fill in the defaults so that every step has its time within the TTL.

    Timeouts that the client states are kept. Defaults share what is left of the TTL in
    proportion, where it is less than they would take. Raises PlanProblem when the stated ones do
    not fit, or when a default would come below MIN_STEP_TIMEOUT.
    """
    seconds = ttl.total_seconds()
    end = 0.0
    defaults = 0.0
    for index, step in enumerate(draft):
        if step.timeout is None:
            defaults += _default_timeout(step, category)
            continue
        end += step.timeout
        if end > seconds:
            detail = f"The stated timeouts up to this step add up to {end:g} s of {seconds:g} s."
            raise PlanProblem("timeout_beyond_ttl", detail, index)
    scale = min(1.0, (seconds - end) / defaults) if defaults else 1.0
    steps = []
    for index, step in enumerate(draft):
        timeout = step.timeout
        if timeout is None:
            # Milliseconds are what timers need; rounding down keeps the sum within the TTL.
            timeout = int(_default_timeout(step, category) * scale * 1000) / 1000
            if timeout < MIN_STEP_TIMEOUT.total_seconds():
                detail = f"The time to live of {seconds:g} s leaves this step no time."
                raise PlanProblem("timeout_beyond_ttl", detail, index)
        steps.append(
            Step(
                channel=step.channel,
                timeout=timeout,
                success=step.success or CHANNELS[step.channel].default_success,
                failover_on=step.failover_on,
                provider=step.provider,
                sender=step.sender,
                adapters=step.adapters,
            )
        )
    return tuple(steps)


def _default_timeout(step: DraftStep, category: Category) -> float:
    return CHANNELS[step.channel].timeout_for(category).total_seconds()
