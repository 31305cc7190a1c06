"""Who sends too much is told so, and when to come again; nobody else notices."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from domain.limits import Cap, RateLimits
from domain.message import Category
from domain.tenancy import Tenant
from domain.verdict import Verdict
from handlers.api.problems import Problem
from handlers.pipeline.draft import Draft
from tests.fakes import FakeClock
from tests.unit.suppression.api import GLOBEX, Api, serve
from tests.unit.suppression.conftest import World

ANNA, BO = "+4520123456", "+4520123457"


@pytest.fixture
def clock():
    return FakeClock(datetime(2026, 5, 1, 22, 0, tzinfo=UTC))


@pytest.fixture
async def api(world: World, clock: FakeClock):
    api = serve(world, clock)
    yield api
    await api.close()


def limit(api: Api, **limits) -> None:
    api.settings.tenants["acme"] = Tenant("acme", limits=RateLimits(**limits))


async def test_the_tenants_rate(api: Api, clock: FakeClock):
    limit(api, tenant=Cap(3, 30.0))
    answers = [await api.send() for _ in range(5)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429, 429]
    refused = answers[-1]
    assert refused.json()["code"] == "rate_limited"
    assert refused.headers["retry-after"] == "10"
    assert refused.headers["ratelimit-policy"] == '"tenant";q=3;w=30'
    assert refused.headers["ratelimit"] == '"tenant";r=0;t=10'
    assert (await api.send(key=GLOBEX)).status_code == 202
    clock.now += timedelta(seconds=9)
    assert (await api.send()).headers["retry-after"] == "1"
    clock.now += timedelta(seconds=1)
    assert (await api.send()).status_code == 202
    assert (await api.send()).status_code == 429


async def test_an_answer_tells_what_is_left(api: Api):
    assert "ratelimit" not in (await api.send()).headers
    limit(api, tenant=Cap(3, 30.0), key=Cap(9, 1.0))
    answer = await api.send()
    assert answer.headers["ratelimit-policy"] == '"tenant";q=3;w=30, "key";q=9;w=1'
    assert answer.headers["ratelimit"] == '"tenant";r=2;t=10, "key";r=8;t=1'


async def test_a_recipients_cap_is_its_own_and_its_categorys(api: Api, clock: FakeClock):
    limit(api, recipient={Category.OTP: Cap(5, 3600.0)})
    for _ in range(5):
        assert (await api.send(ANNA, category="otp")).status_code == 202
    refused = await api.send(ANNA, category="otp")
    assert (refused.status_code, refused.json()["code"]) == (429, "recipient_capped")
    assert refused.headers["retry-after"] == "720"
    assert (await api.send(BO, category="otp")).status_code == 202
    assert (await api.send(ANNA)).status_code == 202
    clock.now += timedelta(seconds=720)
    assert (await api.send(ANNA, category="otp")).status_code == 202


async def test_the_days_quota(api: Api, clock: FakeClock):
    limit(api, daily=2)
    assert [(await api.send()).status_code for _ in range(3)] == [202, 202, 429]
    refused = await api.send()
    assert refused.json()["code"] == "quota_exceeded"
    assert refused.headers["retry-after"] == str(2 * 3600)
    clock.now += timedelta(hours=2)
    assert (await api.send()).status_code == 202


async def test_a_batch_passes_as_far_as_there_is_room(api: Api):
    limit(api, tenant=Cap(2, 60.0))
    messages = [{"to": {"sms": ANNA}, "content": {"text": f"Hello {n}"}} for n in range(4)]
    answer = (await api.ask("POST", "/v1/messages/batch", {"messages": messages})).json()
    assert (answer["accepted"], answer["refused"]) == (2, 2)
    codes = {item["problem"]["code"] for item in answer["results"] if "problem" in item}
    assert codes == {"rate_limited"}


async def test_who_is_refused_by_one_limit_takes_nothing_of_the_others(api: Api):
    limit(api, tenant=Cap(10, 600.0), recipient={Category.OTP: Cap(1, 3600.0)}, daily=3)
    assert (await api.send(ANNA, category="otp")).status_code == 202
    for _ in range(20):
        assert (await api.send(ANNA, category="otp")).json()["code"] == "recipient_capped"
    assert (await api.send(BO)).status_code == 202
    assert (await api.send(BO)).status_code == 202
    for _ in range(20):
        assert (await api.send(BO)).json()["code"] == "quota_exceeded"


async def test_a_repeated_request_is_not_counted_again(api: Api):
    limit(api, tenant=Cap(2, 60.0))
    headers = {"Idempotency-Key": "order-1"}
    body = {"to": {"sms": ANNA}, "content": {"text": "Hello"}}
    for _ in range(5):
        answer = await api.ask("POST", "/v1/messages", body, headers=headers)
        assert answer.status_code == 202
    assert (await api.send()).status_code == 202
    assert (await api.send()).status_code == 429


async def test_who_is_suppressed_is_not_counted(api: Api):
    limit(api, tenant=Cap(1, 60.0))
    await api.ask("POST", "/v1/suppressions", {"channel": "sms", "address": ANNA})
    for _ in range(3):
        assert (await api.send(ANNA)).json()["code"] == "recipient_suppressed"
    assert (await api.send(BO)).status_code == 202


async def test_what_a_later_layer_refuses_is_given_back(world: World, clock: FakeClock):
    later = Moody()
    api = serve(world, clock, dedup=later)
    limit(
        api,
        tenant=Cap(1, 60.0),
        key=Cap(1, 60.0),
        recipient={Category.TRANSACTIONAL: Cap(1, 60.0)},
        daily=1,
    )
    for _ in range(5):
        assert (await api.send()).json()["code"] == "content_refused"
    later.refuses = False
    assert (await api.send()).status_code == 202
    assert (await api.send()).status_code == 429
    await api.close()


class Moody:
    """A layer behind this one."""

    name = "dedup"
    refuses = True

    def check(self, draft: Draft) -> Verdict:
        if self.refuses:
            raise Problem("content_refused")
        return Verdict(self.name)


@pytest.mark.parametrize(
    "limits",
    [{"count": 0, "seconds": 1.0}, {"count": 1, "seconds": 0.0}, {"count": 1, "seconds": 1e9}],
)
def test_limits_that_make_no_sense(limits):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"tenant": limits}, RateLimits)
