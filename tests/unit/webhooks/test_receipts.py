"""What becomes of an adapter's report on its way to the message."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adapters.wasm.contract import Report, ReportedFailure
from domain.failures import FailureCode
from domain.message import Level
from handlers.reports import receipt_of

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def receipt(**said):
    report = Report(**{"id": "e1", "final": True, **said})
    return receipt_of(report, 2, "acme", NOW)


def test_a_report_is_a_receipt_of_its_attempt():
    made = receipt(level=Level.DELIVERED, provider_status="sent", final=False)
    assert (made.attempt, made.level, made.provider) == (2, Level.DELIVERED, "acme")
    assert (made.provider_status, made.id, made.final) == ("sent", "acme/e1", False)


@pytest.mark.parametrize(
    ("told", "taken"),
    [
        (None, NOW),
        (NOW - timedelta(hours=2), NOW - timedelta(hours=2)),
        (NOW + timedelta(seconds=2), NOW),
        (datetime.max.replace(tzinfo=UTC), NOW),
    ],
)
def test_nothing_is_reported_before_it_happens(told, taken):
    assert receipt(level=Level.SENT, at=told).at == taken


def test_what_a_provider_writes_is_cut():
    failure = ReportedFailure(FailureCode.PROVIDER_REJECTED, "c" * 9_000, "d" * 9_000)
    made = receipt(failure=failure, provider_status="s" * 9_000)
    assert made.failure.code is FailureCode.PROVIDER_REJECTED
    assert len(made.failure.provider_code) == len(made.provider_status) == 64
    assert len(made.failure.detail) == 500
