"""Layers that had nothing to say share a line; what one did has a line of its own."""

from __future__ import annotations

import pytest

from infra.cli.timeline import lines

AT = "2026-01-01T00:00:00Z"


def entry(layer: str, outcome: str = "pass", **more: str) -> dict[str, object]:
    return {
        "at": AT,
        "event": "verdict",
        "verdict": {"layer": layer, "outcome": outcome, **more},
    }


@pytest.mark.parametrize(
    ("verdicts", "shown"),
    [
        ([entry("schema"), entry("content")], [("passed schema, content", "")]),
        (
            [entry("auth", detail="key 1a2b"), entry("tenant")],
            [("passed auth (key 1a2b), tenant", "")],
        ),
        (
            [
                entry("schema"),
                entry("compliance", "defer", code="quiet_hours", detail="until 8"),
                entry("dnc"),
            ],
            [
                ("passed schema", ""),
                ("compliance put it off: until 8", "quiet_hours"),
                ("passed dnc", ""),
            ],
        ),
        (
            [entry("content", code="link_in_otp", detail="link_in_otp in text")],
            [("content let it pass: link_in_otp in text", "link_in_otp")],
        ),
        ([entry("dnc", "change", code="x")], [("dnc changed it", "x")]),
        ([entry("later", "sideways")], [("later sideways", "")]),
    ],
)
def test_verdicts(verdicts, shown):
    message = {
        "created_at": AT,
        "timeline": [
            {"at": AT, "event": "accepted"},
            *verdicts,
            {"at": AT, "event": "quiet_hours", "channel": "sms"},
        ],
    }
    drawn = list(lines(message))
    assert [(line.text, line.note) for line in drawn[1:-1]] == shown
    assert drawn[-1].text == "sms waits for the end of quiet hours"
