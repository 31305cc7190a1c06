"""From what a guest says, and what its requests bear out, to what is told to the cascade."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from adapters.wasm.contract import HERMES_OWN, HttpError, HttpResponse, SendResult
from adapters.wasm.installed import Installed
from adapters.wasm.runtime.drive import Exchange
from adapters.wasm.runtime.faults import AdapterFailed, Fault
from domain.delivery import DeliveryRequest, Submission, SubmissionState
from domain.failures import Failure, FailureCode

MAX_DETAIL: Final = 500
MAX_CODE: Final = 64
"""Characters of what a guest says of a failure; the rest is cut."""

_BUSY_FOR: Final = 1.0
"""Seconds until a tenant's calls under way have probably made room."""

_CODES: Final[dict[Fault, FailureCode]] = {
    # A slow moment of this machine is no fault of the adapter's: worth another attempt.
    "deadline": FailureCode.PROVIDER_ERROR,
    "configure": FailureCode.CONFIGURATION,
    "imports": FailureCode.CONFIGURATION,
    "exports": FailureCode.CONFIGURATION,
    "component": FailureCode.CONFIGURATION,
}
"""What a guest's failure is to the cascade; every other one would be met again: `internal`."""


def failure_of(error: AdapterFailed) -> Failure:
    """What a guest's failure is to the cascade."""
    code = _CODES.get(error.kind, FailureCode.INTERNAL)
    return Failure(code, f"adapter_{error.kind}", str(error)[:MAX_DETAIL])


def refusal(
    request: DeliveryRequest, adapter: str, installed: Installed | None, now: datetime
) -> Failure | None:
    """Why nothing is tried at all."""
    if now >= request.not_after:
        return Failure(FailureCode.TOO_LATE)
    if installed is None:
        return Failure(FailureCode.NOT_SUPPORTED, detail=f"no active adapter is called {adapter}")
    if request.channel is not None and request.channel not in installed.manifest.channels:
        return Failure(
            FailureCode.NOT_SUPPORTED, detail=f"{adapter} does not serve {request.channel}"
        )
    return None


def hold_to_truth(result: SendResult, exchanges: Sequence[Exchange]) -> None:
    """Raise AdapterFailed("lying") for an `ok` that no answer of the provider's bears out, and for
    what is not a guest's to say."""
    if result.code in HERMES_OWN:
        raise AdapterFailed("lying", f"it says {result.code.value}, which only Hermes can know")
    if not result.ok:
        return
    succeeded = False
    for each in exchanges:
        if each.in_doubt:
            return
        succeeded = succeeded or _succeeded(each.answer)
    if not succeeded:
        raise AdapterFailed("lying", "it says ok, and no request was answered with 2xx")
    last = exchanges[-1].answer
    if isinstance(last, HttpError):
        raise AdapterFailed("lying", f"it says ok after a request without an answer: {last.kind}")
    if last is not None and last.status >= 400:
        raise AdapterFailed("lying", f"it says ok after an answer of status {last.status}")


def _succeeded(answer: HttpResponse | HttpError | None) -> bool:
    return isinstance(answer, HttpResponse) and 200 <= answer.status < 300


def submission(
    adapter: str, begun_at: datetime, result: SendResult, exchanges: Sequence[Exchange]
) -> Submission:
    """What became of an attempt whose guest came to its end, and told the truth."""
    now = datetime.now(UTC)
    doubt = next((each for each in exchanges if each.in_doubt), None)
    if doubt is not None:
        said = doubt.answer.message if isinstance(doubt.answer, HttpError) else "no answer"
        return _unknown(adapter, begun_at, None, said)
    if result.ok:
        return Submission(
            SubmissionState.TAKEN,
            at=now,
            begun_at=begun_at,
            provider=adapter,
            level=result.level,
            provider_ids=result.provider_ids,
            segments=result.segments,
        )
    code = result.code or FailureCode.PROVIDER_ERROR
    provider_code = result.provider_code[:MAX_CODE] if result.provider_code else None
    detail = result.detail[:MAX_DETAIL] if result.detail else None
    if code is FailureCode.OUTCOME_UNKNOWN:
        return _unknown(adapter, begun_at, provider_code, detail)
    throttled = code is FailureCode.PROVIDER_THROTTLED
    return Submission(
        SubmissionState.BUSY if throttled else SubmissionState.FAILED,
        at=now,
        begun_at=begun_at,
        provider=adapter,
        failure=Failure(code, provider_code, detail),
        retry_after=result.retry_after,
    )


def broken(
    adapter: str, begun_at: datetime, failure: Failure, exchanges: Sequence[Exchange]
) -> Submission:
    """After a guest's failure: unknown when a request of it may have sent the message."""
    acted = [each for each in exchanges if each.request.method != "GET"]
    if any(each.in_doubt or _succeeded(each.answer) for each in acted):
        return _unknown(adapter, begun_at, failure.provider_code, failure.detail)
    return failed(adapter, begun_at, failure)


def _unknown(
    adapter: str, begun_at: datetime, provider_code: str | None, detail: str | None
) -> Submission:
    return Submission(
        SubmissionState.UNKNOWN,
        at=datetime.now(UTC),
        begun_at=begun_at,
        provider=adapter,
        failure=Failure(FailureCode.OUTCOME_UNKNOWN, provider_code, detail),
    )


def busy(adapter: str, begun_at: datetime, detail: str) -> Submission:
    """An attempt that nothing was done for: the tenant has too many under way."""
    return Submission(
        SubmissionState.BUSY,
        at=datetime.now(UTC),
        begun_at=begun_at,
        provider=adapter,
        failure=Failure(FailureCode.PROVIDER_THROTTLED, "adapter_busy", detail),
        retry_after=_BUSY_FOR,
    )


def failed(adapter: str, begun_at: datetime, failure: Failure) -> Submission:
    """An attempt of which the provider has nothing."""
    return Submission(
        SubmissionState.FAILED,
        at=datetime.now(UTC),
        begun_at=begun_at,
        provider=adapter,
        failure=failure,
    )
