"""Tables without lines, and the times in them."""

from __future__ import annotations

from datetime import datetime

from rich.table import Table


def plain_table(*columns: str, wrapped: str | None = None, right: tuple[str, ...] = ()) -> Table:
    """A table of these columns. `wrapped` names the one that may take several lines, the last if
    nothing is said; `right` those of numbers."""
    table = Table(box=None, pad_edge=False, header_style="quiet", show_edge=False)
    for name in columns:
        table.add_column(
            name,
            no_wrap=name != (wrapped or columns[-1]),
            justify="right" if name in right else "left",
            overflow="fold",
        )
    return table


def day(moment: str | datetime | None) -> str:
    """A time as people read it here, to the minute; nothing for none."""
    if moment is None:
        return ""
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{at.astimezone():%d %b %Y %H:%M}"
