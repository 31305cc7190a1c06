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
from domain.ports import Principal, TenantDirectory
from domain.tenancy import Tenant
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
                raise _refusal(bucket, wait)
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

    def headers(self, tenant: Tenant, principal: Principal) -> dict[str, str]:
        """What is left of the tenant's and the key's rate, as in
        draft-ietf-httpapi-ratelimit-headers-10; empty where there is none."""
        limits = tenant.limits
        if limits.tenant is None and limits.key is None:
            return {}
        now = self._clock()
        policies, left = [], []
        for bucket in _shared(tenant.id, principal, limits):
            policies.append(_policy(bucket))
            remaining = self._tenants.left(bucket.name, bucket.cap, now)
            left.append(f'"{bucket.policy}";r={remaining};t={_whole(bucket.cap.interval)}')
        return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(left)}

    def turn_away(self, tenant: Tenant, principal: Principal) -> None:
        """Raises Problem `rate_limited` for a caller who has no token left: before its request is
        read, which costs more than all of this. Takes none."""
        limits = tenant.limits
        if limits.tenant is None and limits.key is None:
            return
        now = self._clock()
        for bucket in _shared(tenant.id, principal, limits):
            wait = self._tenants.wait(bucket.name, bucket.cap, now)
            if wait:
                raise _refusal(bucket, wait)

    async def _leased(
        self,
        draft: Draft,
        daily: int,
        wanted: list[_Bucket],
        taken: bool | Awaitable[bool],
    ) -> Verdict:
        try:
            if taken if isinstance(taken, bool) else await taken:
                return _WITHIN
        except BaseException:
            self._put_back(wanted)
            raise
        self._put_back(wanted)
        whole = _Bucket("quota_exceeded", "daily", (), Cap(daily, DAY))
        raise _refusal(whole, day_ends_in(draft.now))

    def _of(self, bucket: _Bucket) -> Buckets[tuple[str, ...]]:
        # By themselves: recipients come in great numbers, and must not push tenants out.
        return self._recipients if bucket.code == "recipient_capped" else self._tenants

    def _put_back(self, buckets: list[_Bucket]) -> None:
        for bucket in buckets:
            self._of(bucket).give_back(bucket.name, bucket.cap)


def _buckets(draft: Draft, limits: RateLimits) -> list[_Bucket]:
    """What a message takes from."""
    if limits.tenant is None and limits.key is None and not limits.recipient:
        return []
    tenant, principal = draft.tenant.id, draft.principal
    found = _shared(tenant, principal, limits)
    order = draft.order
    cap = limits.recipient.get(order.category)
    if cap is not None:
        mode, category = principal.mode.value, order.category.value
        for channel in dict.fromkeys([step.channel for step in order.plan]):
            name = (tenant, mode, category, channel, order.to[channel])
            found.append(_Bucket("recipient_capped", "recipient", name, cap))
    return found


def _shared(tenant: str, principal: Principal, limits: RateLimits) -> list[_Bucket]:
    """What all messages of a key take from. Test keys have others than live ones."""
    mode = principal.mode.value
    found = []
    if limits.tenant is not None:
        found.append(_Bucket("rate_limited", "tenant", (tenant, mode), limits.tenant))
    if limits.key is not None:
        name = (tenant, mode, principal.key_id)
        found.append(_Bucket("rate_limited", "key", name, limits.key))
    return found


def _refusal(bucket: _Bucket, wait: float) -> Problem:
    cap, seconds = bucket.cap, _whole(wait)
    return Problem(
        bucket.code,
        f"At most {cap.count:,} in {_time(cap.seconds)}. There is room in {_time(seconds)}.",
        headers={
            "Retry-After": str(seconds),
            "RateLimit-Policy": _policy(bucket),
            "RateLimit": f'"{bucket.policy}";r=0;t={seconds}',
        },
    )


def _policy(bucket: _Bucket) -> str:
    return f'"{bucket.policy}";q={bucket.cap.count};w={_whole(bucket.cap.seconds)}'


def _whole(seconds: float) -> int:
    return max(math.ceil(seconds), 1)


def _time(seconds: float) -> str:
    return "1 second" if seconds == 1 else f"{seconds:,g} seconds"


class RateGate:
    """The layer's limits as the API's door asks about them. `tenants` knows what they are."""

    def __init__(self, rate: Rate, tenants: TenantDirectory) -> None:
        self._rate = rate
        self._tenants = tenants

    def turn_away(self, principal: Principal) -> None:
        """Raises Problem `rate_limited` for a caller who has no token left."""
        tenant = self._tenants.tenant(principal.tenant)
        if tenant is not None:
            self._rate.turn_away(tenant, principal)

    def headers(self, principal: Principal) -> dict[str, str]:
        """What a caller has left."""
        tenant = self._tenants.tenant(principal.tenant)
        return {} if tenant is None else self._rate.headers(tenant, principal)
