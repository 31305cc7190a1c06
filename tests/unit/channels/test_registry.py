"""What has to hold for every channel, also for the next one."""

import pytest

from domain.channels import CHANNELS
from domain.message import Category


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_is_registered_under_its_own_name(name):
    assert CHANNELS[name].name == name


@pytest.mark.parametrize("name", CHANNELS)
def test_the_default_success_can_be_proven(name):
    rules = CHANNELS[name]
    assert rules.provable.reaches(rules.default_success)


@pytest.mark.parametrize("name", CHANNELS)
def test_every_category_has_a_default_timeout(name):
    assert all(CHANNELS[name].timeout_for(category).total_seconds() >= 1 for category in Category)
