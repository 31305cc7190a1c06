"""Kinds of telephone numbers."""

from __future__ import annotations

from enum import Enum


class NumberKind(str, Enum):
    """What a number's range is for."""

    MOBILE = "mobile"
    FIXED_OR_MOBILE = "fixed_or_mobile"  # where ranges do not tell, as in North America
    FIXED = "fixed"
    OTHER = "other"  # service numbers, pagers, and what no range covers
