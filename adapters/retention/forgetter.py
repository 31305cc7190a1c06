"""Both places that name people, as one: the message log and the pools' journal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from adapters.retention.redaction import redact, redact_journal
from adapters.store.database import Database
from adapters.store.recipients import Places
from adapters.store.schema import open_store


class Forgetter:
    """Redacts messages everywhere. `messages` is the message log's database."""

    def __init__(self, messages: Database, journal: Database | None, places: Places) -> None:
        self.messages = messages
        self._journal = journal
        self._places = places

    def redact(self, ids: Sequence[str]) -> int:
        """Redact these messages, which have ended, at most BATCH. Gives how many there were.

        The journal comes first: a message that is redacted is never looked at again.
        """
        if self._journal is not None and ids:
            redact_journal(self._journal, ids)
        return redact(self.messages, ids, self._places)


@contextmanager
def forgetter(where: Path | str, journal: Path | str | None, places: Places) -> Iterator[Forgetter]:
    """A forgetter on connections of its own, which end with the block. A journal that is a file
    and not there is another machine's: it forgets by itself, after 8 days."""
    if isinstance(journal, Path) and not journal.exists():
        journal = None
    messages = open_store(where, "hermes")
    try:
        parts = None if journal is None else open_store(journal, "smpp")
        try:
            yield Forgetter(messages, parts, places)
        finally:
            if parts is not None:
                parts.close()
    finally:
        messages.close()
