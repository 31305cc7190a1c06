"""How a plan is completed, and how it fits into the time to live."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.channels import CHANNELS
from domain.channels.plan import DraftStep, PlanProblem, complete, default_draft
from domain.message import Category, Level

DAY = timedelta(days=1)


def timeouts(draft, ttl, category=Category.TRANSACTIONAL):
    return [step.timeout for step in complete(draft, category=category, ttl=ttl)]


def test_the_default_plan_follows_the_registry_and_not_the_request():
    steps = complete(default_draft(["email", "sms"]), category=Category.TRANSACTIONAL, ttl=DAY)
    assert [(s.channel, s.timeout, s.success) for s in steps] == [
        ("sms", 60, Level.DELIVERED),
        ("email", 300, Level.SENT),
    ]


def test_an_otp_waits_less_for_its_sms():
    assert timeouts(default_draft(["sms", "email"]), DAY, Category.OTP) == [30, 300]


def test_default_timeouts_shrink_into_a_short_ttl():
    assert timeouts(default_draft(["sms", "email"]), timedelta(seconds=180)) == [30, 150]


def test_stated_timeouts_are_kept_and_the_defaults_share_the_rest():
    draft = [DraftStep("sms", timeout=100), DraftStep("sms"), DraftStep("email")]
    assert timeouts(draft, timedelta(seconds=280)) == [100, 30, 150]


def test_the_same_channel_twice_is_a_retry():
    assert timeouts([DraftStep("sms", 10), DraftStep("sms", 10)], DAY) == [10, 10]


REFUSED = {
    "first_beyond": ([DraftStep("sms", 61)], 60, 0),
    "sum_beyond": ([DraftStep("sms", 40), DraftStep("email", 30)], 60, 1),
    "no_time_left_for_a_default": ([DraftStep("sms", 60), DraftStep("email")], 60, 1),
    "ttl_too_short_for_the_defaults": (default_draft(["sms", "email"]), 2, 0),
}


@pytest.mark.parametrize(("draft", "ttl", "step"), REFUSED.values(), ids=REFUSED)
def test_steps_that_outlast_the_ttl_are_refused(draft, ttl, step):
    with pytest.raises(PlanProblem) as refusal:
        complete(draft, category=Category.TRANSACTIONAL, ttl=timedelta(seconds=ttl))
    assert (refusal.value.code, refusal.value.step) == ("timeout_beyond_ttl", step)


@given(
    st.lists(
        st.builds(
            DraftStep,
            st.sampled_from(list(CHANNELS)),
            st.none() | st.floats(1, 10_000, allow_nan=False),
        ),
        min_size=1,
        max_size=10,
    ),
    st.floats(1, 604_800),
)
def test_a_completed_plan_never_outlasts_the_ttl(draft, ttl):
    try:
        steps = complete(draft, category=Category.TRANSACTIONAL, ttl=timedelta(seconds=ttl))
    except PlanProblem:
        return
    assert sum(step.timeout for step in steps) <= ttl + 0.001
    assert all(step.timeout >= 1 for step in steps)
