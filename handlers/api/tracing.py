"""W3C Trace Context: which trace a request belongs to."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from starlette.datastructures import Headers

_TRACEPARENT: Final = re.compile(
    r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?\Z", re.ASCII
)


class Trace(NamedTuple):
    """`traceparent` as it came, checked, and the trace-id in it; both None without one."""

    traceparent: str | None = None
    id: str | None = None


NO_TRACE: Final = Trace()


def trace_of(headers: Headers) -> Trace:
    """The caller's trace. A malformed `traceparent` is ignored, as the specification demands.

    Versions above 00 may append fields; version ff and all-zero ids are invalid (section 3.2.2).
    """
    values = headers.getlist("traceparent")
    if len(values) != 1:
        return NO_TRACE
    match = _TRACEPARENT.match(values[0])
    if match is None:
        return NO_TRACE
    version, trace_id, parent_id, more = match.groups()
    if version == "ff" or (version == "00" and more is not None):
        return NO_TRACE
    if not trace_id.strip("0") or not parent_id.strip("0"):
        return NO_TRACE
    return Trace(values[0], trace_id)
