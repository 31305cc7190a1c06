"""Warm instances: lent to one call at a time, and not for ever."""

import time

import pytest

from adapters.wasm.installed import Installed
from adapters.wasm.manifest import Manifest
from adapters.wasm.runtime.guests import IDLE_FOR, MAX_CALLS, Guests


@pytest.fixture
def guests(linker, program, sink, component):
    manifest = Manifest("puppet", "1.0.0", "1.0.0", "it does what it is told", ("sms",), ())
    installed = Installed("acme", "puppet", "a" * 64, 1, manifest, component, {}, {}, 10)
    guests = Guests(installed, program, linker, sink, {}, placeholders={}, on_loop=True)
    yield guests
    guests.close()


def test_the_one_that_was_used_last_is_lent_first(guests):
    one, two = (guests.fresh(guests.call()) for _ in range(2))
    guests.give_back(one)
    guests.give_back(two)
    assert guests.warm() is two
    assert guests.warm() is one
    assert guests.warm() is None


def test_a_broken_one_does_not_come_back(guests):
    instance = guests.fresh(guests.call())
    instance.broken = True
    guests.give_back(instance)
    assert guests.warm() is None


def test_one_that_has_worked_enough_is_replaced(guests):
    instance = guests.fresh(guests.call())
    instance.calls = MAX_CALLS - 1
    guests.give_back(instance)
    assert guests.warm() is instance
    instance.calls = MAX_CALLS
    guests.give_back(instance)
    assert guests.warm() is None
    assert instance.broken


def test_one_that_has_waited_long_is_freed(guests):
    one, two = (guests.fresh(guests.call()) for _ in range(2))
    guests.give_back(one)
    guests.trim(time.monotonic() + IDLE_FOR - 1)
    assert not one.broken
    guests.trim(time.monotonic() + IDLE_FOR + 1)
    assert one.broken
    guests.give_back(two)
    assert guests.warm() is two


def test_after_the_end_nothing_is_kept(guests):
    lent, waiting = (guests.fresh(guests.call()) for _ in range(2))
    guests.give_back(waiting)
    guests.close()
    guests.give_back(lent)
    assert lent.broken
    assert waiting.broken
    assert guests.warm() is None
