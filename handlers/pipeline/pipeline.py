"""The layers in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from domain.message import MessageOrder
from domain.verdict import Verdict
from handlers.pipeline.draft import Draft, Layer


@runtime_checkable
class Reserving(Protocol):
    """A layer that takes something for each message: tokens of a limit, a place in a list."""

    def give_back(self, draft: Draft) -> None:
        """The message was not accepted after all."""


class Pipeline:
    """Runs each message through all layers."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = tuple(layers)
        self._checks = tuple(layer.check for layer in layers)
        self._reserving = tuple(layer for layer in layers if isinstance(layer, Reserving))

    async def admit(self, draft: Draft) -> MessageOrder:
        """The message as the layers leave it, with their verdicts.

        Raises the Problem of the first layer that refuses it; what earlier ones had taken for it
        is given back.
        """
        try:
            for check in self._checks:
                verdict = check(draft)
                if not isinstance(verdict, Verdict):
                    verdict = await verdict
                draft.verdicts.append(verdict)
        except BaseException:
            self.give_back(draft)
            raise
        return msgspec.structs.replace(draft.order, verdicts=tuple(draft.verdicts))

    def give_back(self, draft: Draft) -> None:
        """The message was refused elsewhere: layers take back what they had set aside for it."""
        passed = {verdict.layer for verdict in draft.verdicts}
        for layer in self._reserving:
            if layer.name in passed:
                layer.give_back(draft)
