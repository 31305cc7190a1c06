"""Which statements become one, and what is known of their row counts."""

from __future__ import annotations

import pytest

from adapters.store.bulk import LARGEST, Uncertain, combined, multiplied, row_counts

A = "INSERT INTO a (x) VALUES (?)"
B = "INSERT INTO b (x, y) VALUES (?, CAST(? AS INTEGER)) ON CONFLICT (x) DO NOTHING"
DELETE = "DELETE FROM a WHERE x = ?"


@pytest.mark.parametrize(
    ("sql", "many"),
    [
        (A, "INSERT INTO a (x) VALUES (?), (?), (?)"),
        (
            B,
            "INSERT INTO b (x, y) VALUES (?, CAST(? AS INTEGER)), (?, CAST(? AS INTEGER)),"
            " (?, CAST(? AS INTEGER)) ON CONFLICT (x) DO NOTHING",
        ),
        (DELETE, None),
        ("INSERT INTO a (x) VALUES (?) ON CONFLICT (x) DO UPDATE SET x = ?", None),
        ("INSERT INTO a (x) SELECT ? WHERE ? > 1", None),
    ],
)
def test_a_statement_has_many_rows_when_all_its_values_are_in_one(sql: str, many: str | None):
    assert multiplied(sql, 3) == many


def places(*statements: tuple[str, tuple[object, ...]]) -> list[tuple[list[object], list[int]]]:
    return [(list(values), places) for _, values, places in combined(statements)]


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([(A, (1,))], [([1], [0])]),
        ([(A, (1,)), (A, (2,))], [([1, 2], [0, 1])]),
        ([(A, (1,)), (A, (2,)), (A, (3,))], [([1, 2], [0, 1]), ([3], [2])]),
        ([(A, (1,)), (B, (2, 3)), (A, (4,))], [([1, 4], [0, 2]), ([2, 3], [1])]),
        # A statement of another kind is overtaken by none and overtakes none.
        (
            [(A, (1,)), (DELETE, (1,)), (A, (1,)), (DELETE, (2,))],
            [([1], [0]), ([1], [1]), ([1], [2]), ([2], [3])],
        ),
    ],
)
def test_equal_statements_become_one(statements, expected):
    assert places(*statements) == expected


def test_every_row_of_a_large_group_is_in_one_statement():
    group = [(A, (n,)) for n in range(3 * LARGEST + 7)]
    made = list(combined(group))
    assert [value for _, values, _ in made for value in values] == list(range(len(group)))
    assert max(len(values) for _, values, _ in made) == LARGEST
    assert all(sql.count("?") == len(values) for sql, values, _ in made)


@pytest.mark.parametrize(
    ("counted", "counts"),
    [
        ([(2, [0, 1])], [1, 1]),
        ([(2, [0, 2]), (0, [1])], [1, 0, 1]),
        ([(17, [0])], [17]),
    ],
)
def test_row_counts_go_to_their_statements(counted, counts):
    assert row_counts(counted, len(counts)) == counts


@pytest.mark.parametrize("count", [0, 1, 3])
def test_rows_that_do_not_tell_are_uncertain(count: int):
    with pytest.raises(Uncertain):
        row_counts([(count, [0, 1])], 2)
