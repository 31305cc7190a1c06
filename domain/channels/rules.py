"""What a channel has to state about itself, and how it refuses what it cannot carry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from domain.message import Category, Content, Level


class ChannelProblem(Exception):
    """A channel refuses something. `code` is one of its `ChannelRules.codes`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class AddressProblem(ChannelProblem):
    """The recipient's address cannot work on this channel."""


class SenderProblem(ChannelProblem):
    """The sender cannot work on this channel."""


class ContentProblem(ChannelProblem):
    """The channel cannot carry the content; `field` names the part at fault."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        field: Literal["text", "subject", "html", "template", "data"],
    ) -> None:
        super().__init__(code, detail)
        self.field = field


@dataclass(frozen=True, slots=True)
class ChannelRules:
    """Everything that the core knows about one channel.

    - `parse_address` gives an address its one normal form, or raises AddressProblem.
    - `parse_sender` does the same for a sender, or raises SenderProblem.
    - `prepare` checks the content and fills in what the channel can derive, a pure function that
      may be applied again; raises ContentProblem.
    - `default_success` ends a step that names no level of its own; `provable` is the furthest
      level that a provider of the channel can prove.
    - `own` is the furthest level that Hermes's own service for the channel can prove, None where
      there are only adapters.
    - `default_timeout` is the step's time by category; categories not in it take
      TRANSACTIONAL's, which is always there.
    - `codes` documents every code that the functions can raise.
    """

    name: str
    parse_address: Callable[[str], str]
    parse_sender: Callable[[str], str]
    prepare: Callable[[Content], Content]
    default_success: Level
    provable: Level
    own: Level | None
    default_timeout: Mapping[Category, timedelta]
    codes: Mapping[str, str]

    def timeout_for(self, category: Category) -> timedelta:
        """The default time of a step on this channel."""
        default = self.default_timeout[Category.TRANSACTIONAL]
        return self.default_timeout.get(category, default)
