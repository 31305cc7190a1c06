"""How much, and how often: the tenant's rate, each key's, each recipient's, and the day's quota.

In memory, O(1), whatever the number of tenants and recipients. Who is refused is told exactly when
there will be room. What a refused message had taken is given back, so only those count that were
accepted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from adapters.limits.buckets import Buckets
from adapters.limits.quota import Quotas
from domain.limits import DAY, Cap, RateLimits, day_ends_in, day_of
from domain.mode import Mode
from domain.verdict import Verdict
from handlers.api.problems import Problem
from handlers.pipeline.draft import Draft

_PASSED: Final = Verdict("rate")
_WITHIN: Final = Verdict("rate", detail="within the limits")


class _Bucket(NamedTuple):
    """One bucket that a message takes from, and the code of a refusal."""

    code: str
    policy: str
    name: tuple[str, ...]
    cap: Cap


class Rate:
    """The layer. `clock` is seconds that never go back."""

    name = "rate"

    def __init__(self, quotas: Quotas, clock: Callable[[], float] = time.monotonic) -> None:
        self._quotas = quotas
        self._clock = clock
        self._tenants: Buckets[tuple[str, ...]] = Buckets()
        self._recipients: Buckets[tuple[str, ...]] = Buckets()

    def check(self, draft: Draft) -> Verdict | Awaitable[Verdict]:
        """Raises Problem `rate_limited`, `recipient_capped` or `quota_exceeded`, each with when to
        come again."""
        limits = draft.tenant.limits
        now = self._clock()
        wanted = _buckets(draft, limits)
        for place, bucket in enumerate(wanted):
            wait = self._of(bucket).take(bucket.name, bucket.cap, now)
            if wait:
                self._put_back(wanted[:place])
                raise _refusal(bucket.code, bucket.policy, bucket.cap, wait)
        if limits.daily is None or draft.principal.mode is not Mode.LIVE:
            return _WITHIN if wanted else _PASSED
        taken = self._quotas.take(draft.tenant.id, day_of(draft.now), limits.daily)
        if taken is True:
            return _WITHIN
        return self._leased(draft, limits.daily, wanted, taken)

    def give_back(self, draft: Draft) -> None:
        """See `Reserving`."""
        limits = draft.tenant.limits
        self._put_back(_buckets(draft, limits))
        if limits.daily is not None and draft.principal.mode is Mode.LIVE:
            self._quotas.give_back(draft.tenant.id, day_of(draft.now))

    def headers(self, draft: Draft) -> dict[str, str]:
        """What is left of the tenant's and the key's rate and of the day, as in
        draft-ietf-httpapi-ratelimit-headers-10; empty where there are no limits."""
        limits = draft.tenant.limits
        now = self._clock()
        policies, left = [], []
        for bucket in _buckets(draft, limits):
            if bucket.code == "rate_limited":
                cap = bucket.cap
                policies.append(_policy(bucket.policy, cap.count, cap.seconds))
                remaining = self._tenants.left(bucket.name, cap, now)
                left.append(f'"{bucket.policy}";r={remaining};t={math.ceil(cap.interval)}')
        if limits.daily is not None and draft.principal.mode is Mode.LIVE:
            policies.append(_policy("daily", limits.daily, DAY))
        if not policies:
            return {}
        headers = {"RateLimit-Policy": ", ".join(policies)}
        if left:
            headers["RateLimit"] = ", ".join(left)
        return headers

    async def _leased(
        self,
        draft: Draft,
        daily: int,
        wanted: tuple[_Bucket, ...],
        taken: bool | Awaitable[bool],
    ) -> Verdict:
        try:
            if taken if isinstance(taken, bool) else await taken:
                return _WITHIN
        except BaseException:
            self._put_back(wanted)
            raise
        self._put_back(wanted)
        raise _refusal("quota_exceeded", "daily", Cap(daily, DAY), day_ends_in(draft.now))

    def _of(self, bucket: _Bucket) -> Buckets[tuple[str, ...]]:
        # By themselves: recipients come in great numbers, and must not push tenants out.
        return self._recipients if bucket.code == "recipient_capped" else self._tenants

    def _put_back(self, buckets: tuple[_Bucket, ...]) -> None:
        for bucket in buckets:
            self._of(bucket).give_back(bucket.name, bucket.cap)


def _buckets(draft: Draft, limits: RateLimits) -> tuple[_Bucket, ...]:
    """What a message takes from. Those of test keys are others than those of live ones."""
    if limits.tenant is None and limits.key is None and not limits.recipient:
        return ()
    tenant, principal = draft.tenant.id, draft.principal
    mode = principal.mode.value
    found = []
    if limits.tenant is not None:
        found.append(_Bucket("rate_limited", "tenant", (tenant, mode), limits.tenant))
    if limits.key is not None:
        found.append(_Bucket("rate_limited", "key", (tenant, mode, principal.key_id), limits.key))
    order = draft.order
    cap = limits.recipient.get(order.category)
    if cap is not None:
        category = order.category.value
        for channel in dict.fromkeys([step.channel for step in order.plan]):
            name = (tenant, mode, category, channel, order.to[channel])
            found.append(_Bucket("recipient_capped", "recipient", name, cap))
    return tuple(found)


def _refusal(code: str, policy: str, cap: Cap, wait: float) -> Problem:
    seconds = max(math.ceil(wait), 1)
    return Problem(
        code,
        f"At most {cap.count:,} in {_time(cap.seconds)}. There is room in {_time(seconds)}.",
        headers={
            "Retry-After": str(seconds),
            "RateLimit-Policy": _policy(policy, cap.count, cap.seconds),
            "RateLimit": f'"{policy}";r=0;t={seconds}',
        },
    )


def _policy(name: str, count: int, seconds: float) -> str:
    return f'"{name}";q={count};w={max(math.ceil(seconds), 1)}'


def _time(seconds: float) -> str:
    return "1 second" if seconds == 1 else f"{seconds:,g} seconds"
