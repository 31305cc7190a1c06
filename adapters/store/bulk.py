"""Many equal statements as one with many rows.

A statement costs little in itself. What costs is each time the interpreter's lock is let go and
fought for again (SQLite), and each message to the server (PostgreSQL), and both are paid once a
statement whatever its rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from adapters.store.database import Statement

LARGEST = 64
"""Rows in one statement. Powers of two up to this, so that few different ones are prepared."""

_ROW = re.compile(r"\bVALUES\s*(\((?:[^()]|\([^()]*\))*\))")

Combined = tuple[str, Sequence[Any], list[int]]
"""SQL, values, and the places in the group of the statements that it stands for."""


class Uncertain(Exception):
    """The rows of a statement that had many do not tell which of them counted."""


def combined(statements: Sequence[Statement]) -> Iterator[Combined]:
    """The same work in fewer statements.

    Equal ones become one when all their values are in one `VALUES (…)`, and for that they may
    overtake others of this kind. Nothing overtakes a statement of another kind, nor the reverse.
    """
    together: dict[str, list[int]] = {}
    for place, (sql, parameters) in enumerate(statements):
        if multiplied(sql, 1) is not None:
            together.setdefault(sql, []).append(place)
            continue
        yield from _in_portions(statements, together)
        together.clear()
        yield sql, parameters, [place]
    yield from _in_portions(statements, together)


def row_counts(counted: Iterable[tuple[int, list[int]]], size: int) -> list[int]:
    """The row count of each of a group's `size` statements, from row counts and places.

    Raises Uncertain when one that stands for several did not write one row for each.
    """
    counts = [1] * size
    for count, places in counted:
        if len(places) == 1:
            counts[places[0]] = count
        elif count != len(places):
            raise Uncertain
    return counts


@lru_cache(maxsize=1024)
def multiplied(sql: str, rows: int) -> str | None:
    """A statement for many rows; None for one that cannot have them."""
    row = _ROW.search(sql)
    if row is None or row[1].count("?") != sql.count("?"):
        return None
    return sql[: row.end()] + f", {row[1]}" * (rows - 1) + sql[row.end() :]


def _in_portions(
    statements: Sequence[Statement], together: dict[str, list[int]]
) -> Iterator[Combined]:
    for sql, places in together.items():
        start = 0
        while start < len(places):
            size = min(LARGEST, 1 << ((len(places) - start).bit_length() - 1))
            portion = places[start : start + size]
            start += size
            many = multiplied(sql, size)
            assert many is not None
            yield many, list(chain.from_iterable(statements[p][1] for p in portion)), portion
