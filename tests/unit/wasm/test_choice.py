"""Which adapters a step may take, and where the channel's own service stands among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.wasm.choice import OWN_PRIORITY, ByPriority
from adapters.wasm.installed import Health, Installed
from adapters.wasm.manifest import Manifest
from domain.providers import OWN

BEFORE, AFTER = OWN_PRIORITY - 1, OWN_PRIORITY + 1


def adapter(name: str, priority: int, channel: str) -> Installed:
    manifest = Manifest(name, "1.0.0", "1.0.0", "For a test.", (channel,), ())
    return Installed("acme", name, "ab" * 32, 1, manifest, Path("none"), {}, {}, priority)


class Adapters:
    """Those of one tenant; some are sick."""

    def __init__(self, adapters: list[Installed], sick: set[str]) -> None:
        self._adapters = adapters
        self._sick = sick

    async def refresh(self) -> bool:
        return False

    def active(self, tenant: str, adapter: str) -> Installed | None:
        return next((one for one in self._adapters if one.adapter == adapter), None)

    async def pinned(self, tenant: str, adapter: str, version: str) -> Installed | None:
        return None

    def all_active(self) -> list[Installed]:
        return self._adapters

    def of(self, tenant: str) -> list[Installed]:
        return self._adapters

    def choose(self, tenant: str, channel: str) -> list[Installed]:
        fit = [
            one
            for one in self._adapters
            if channel in one.manifest.channels and one.adapter not in self._sick
        ]
        return sorted(fit, key=lambda one: one.priority)

    async def note_health(self, installed: Installed, health: Health) -> None:
        raise AssertionError


# the tenant's adapters with their priorities, channel, named, chosen
CHOICES = {
    "none: sms is carried all the same": ([], "sms", None, ()),
    "none: push is not": ([], "push", None, None),
    "none of that name: perhaps a carrier's": ([], "sms", "telia", ()),
    "none of that name, and no own service": ([("a", 1)], "push", "b", None),
    "after the own service": ([("a", AFTER)], "sms", None, (OWN, "a")),
    "before the own service": ([("a", BEFORE)], "sms", None, ("a", OWN)),
    "on both sides": ([("a", AFTER), ("b", BEFORE)], "sms", None, ("b", OWN, "a")),
    "no own service": ([("b", 2), ("a", 1)], "whatsapp", None, ("a", "b")),
    "named": ([("a", 1), ("b", 2)], "sms", "b", ("b",)),
    "sick": ([("sick", 1), ("a", AFTER)], "sms", None, (OWN, "a")),
    "all sick: sms is carried by Hermes": ([("sick", 1)], "sms", None, ()),
    "all sick, and no own service": ([("sick", 1)], "push", None, ("sick",)),
    "sick, but named": ([("sick", 1)], "push", "sick", ("sick",)),
}


@pytest.mark.parametrize(("adapters", "channel", "named", "chosen"), CHOICES.values(), ids=CHOICES)
def test_choice(adapters, channel, named, chosen):
    registry = Adapters([adapter(*one, channel) for one in adapters], {"sick"})
    assert ByPriority(registry).choose("acme", channel, named) == chosen


def test_a_named_adapter_of_another_channel_is_none():
    registry = Adapters([adapter("a", 1, "sms")], set())
    assert ByPriority(registry).choose("acme", "push", "a") is None


# what the own service has, channel, named, chosen
NAMED = {
    "a carrier": (("telia", "tdc"), "sms", "tdc", ()),
    "a carrier that there is not": (("telia", "tdc"), "sms", "telai", None),
    "no pool has answered yet": ((), "sms", "telai", ()),
    "the relay": (("smtp",), "email", "smtp", ()),
    "a relay that there is not": (("smtp",), "email", "sendgird", None),
}


@pytest.mark.parametrize(("has", "channel", "named", "chosen"), NAMED.values(), ids=NAMED)
def test_a_provider_that_nobody_has_is_refused(has, channel, named, chosen):
    choice = ByPriority(Adapters([], set()), lambda asked: has if asked == channel else ())
    assert choice.choose("acme", channel, named) == chosen
