"""Carriers that were added or changed at run time, over those that the configuration names."""

from __future__ import annotations

import time
from dataclasses import dataclass

from adapters.store.group_commit import GroupCommit

_COLUMNS = "name, config_json, state, updated_at"
_PUT = f"""
    INSERT INTO carriers ({_COLUMNS}) VALUES (?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET config_json = excluded.config_json,
        state = excluded.state, updated_at = excluded.updated_at
"""


@dataclass(frozen=True, slots=True)
class StoredCarrier:
    """A carrier as it was last written. `config_json` and `state` are the mesh's own words, and
    nothing here reads them; `updated_at` is in seconds since the epoch."""

    name: str
    config_json: str
    state: str
    updated_at: float


class CarrierStore:
    """The table of carriers; a part of the journal, whose writer it uses."""

    _writer: GroupCommit

    async def carriers(self) -> list[StoredCarrier]:
        """Every carrier that was written, by name. Another process may have changed one: whoever
        wants to follow asks again and compares `updated_at`."""
        rows = await self._writer.read(
            lambda c: c.execute(f"SELECT {_COLUMNS} FROM carriers ORDER BY name").fetchall()
        )
        return [StoredCarrier(*row) for row in rows]

    async def put_carrier(self, name: str, config_json: str, state: str) -> None:
        """Add a carrier, or replace the one of that name. Durable on return."""
        await self._writer.write(_PUT, (name, config_json, state, time.time()))

    async def delete_carrier(self, name: str) -> bool:
        """Forget a carrier; False when there was none of that name. Durable on return."""
        return await self._writer.write("DELETE FROM carriers WHERE name = ?", (name,)) == 1
