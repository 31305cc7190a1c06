"""The sandbox: what becomes of a test key's messages, chosen by the recipient.

A test message takes the same way as every other one, to a provider that follows a script and
reaches nobody. The last four digits of a phone number choose the script, and so does what an
e-mail address or a push token begins with; whatever else is written there is delivered. The digits
are those of the SMSC simulator, where both know a fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import msgspec

from domain.channels import CHANNELS
from domain.delivery import DeliveryRequest, Receipt, Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.message import Level
from domain.mode import Mode
from domain.sms.segmentation import count_segments

PROVIDER: Final = "sandbox"
"""The provider's name in timelines and callbacks."""

SOON: Final = timedelta(milliseconds=300)
"""When a receipt comes, and how long after it the next one."""
AFTER_THE_STEP: Final = timedelta(seconds=2)
"""How long after the end of its step a late receipt comes."""
RETRY_AFTER: Final = 0.5
"""Seconds after which a provider that is busy wants to be asked again."""
BUSY_TIMES: Final = 2
"""How often a provider that throttles says so."""
ALWAYS: Final = 1_000_000


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to a message.

    `word` and `digits` choose it. `refusal` answers the first `times` requests of a step; then the
    provider takes it and sends `reports`, in their order, each a level or a failure: what a channel
    cannot prove is left out. `late` ones come after the step's time, `early` ones before the
    answer, `twice` repeats each. Without an answer (`answers`) nobody knows what became of it.
    `suppressed` is refused before it is accepted, as somebody who has opted out is.
    """

    word: str
    digits: str
    meaning: str
    refusal: FailureCode | None = None
    times: int = ALWAYS
    reports: tuple[Level | FailureCode, ...] = ()
    answers: bool = True
    late: bool = False
    early: bool = False
    twice: bool = False
    suppressed: bool = False


_ARRIVES: Final = (Level.DELIVERED,)

DELIVERED: Final = Script(
    word="delivered",
    digits="9900",
    meaning="Taken, then delivered. So is every recipient that is not in this table.",
    reports=_ARRIVES,
)


def _refused(word: str, digits: str, code: FailureCode, meaning: str) -> Script:
    return Script(word=word, digits=digits, meaning=meaning, refusal=code)


def _fails(word: str, digits: str, code: FailureCode, meaning: str) -> Script:
    return Script(word=word, digits=digits, meaning=meaning, reports=(code,))


SCRIPTS: Final[tuple[Script, ...]] = (
    DELIVERED,
    Script(
        word="late",
        digits="9901",
        meaning="Taken; the receipt comes 2 s after the step's time is over.",
        reports=_ARRIVES,
        late=True,
    ),
    Script(word="silent", digits="9902", meaning="Taken; no receipt ever comes."),
    _fails(
        "unreachable",
        "9903",
        FailureCode.RECIPIENT_UNREACHABLE,
        "Taken, then not delivered: a failure that may pass.",
    ),
    Script(
        word="early",
        digits="9904",
        meaning="Delivered, and the receipt comes before the provider's answer.",
        reports=_ARRIVES,
        early=True,
    ),
    _refused(
        "invalid",
        "9905",
        FailureCode.RECIPIENT_INVALID,
        "Refused: the address does not exist. A permanent failure.",
    ),
    Script(
        word="throttled",
        digits="9906",
        meaning="The provider is busy twice, then takes and delivers it.",
        refusal=FailureCode.PROVIDER_THROTTLED,
        times=BUSY_TIMES,
        reports=_ARRIVES,
    ),
    _fails(
        "expired",
        "9907",
        FailureCode.RECIPIENT_EXPIRED,
        "Taken; the provider gives up waiting for the recipient.",
    ),
    Script(
        word="unknown",
        digits="9908",
        meaning="No answer and no receipt: nobody knows whether it was sent.",
        answers=False,
    ),
    Script(
        word="unanswered",
        digits="9909",
        meaning="No answer, yet a receipt that it was delivered.",
        answers=False,
        reports=_ARRIVES,
    ),
    _fails(
        "rejected",
        "9910",
        FailureCode.PROVIDER_REJECTED,
        "Taken, then rejected by the provider. A permanent failure.",
    ),
    Script(
        word="read",
        digits="9911",
        meaning="Delivered, then read, where the channel can prove it.",
        reports=(Level.DELIVERED, Level.READ),
    ),
    _fails(
        "blocked",
        "9912",
        FailureCode.CONTENT_REJECTED,
        "Taken, then filtered out for what it says. A permanent failure.",
    ),
    _refused(
        "error",
        "9913",
        FailureCode.PROVIDER_ERROR,
        "Refused with a passing error, every time, until the step's time is over.",
    ),
    Script(
        word="flaky",
        digits="9914",
        meaning="Refused once with a passing error, then taken and delivered.",
        refusal=FailureCode.PROVIDER_ERROR,
        times=1,
        reports=_ARRIVES,
    ),
    _refused(
        "unavailable",
        "9915",
        FailureCode.PROVIDER_UNAVAILABLE,
        "The provider cannot be reached, until the step's time is over.",
    ),
    _refused(
        "sender",
        "9916",
        FailureCode.SENDER_REJECTED,
        "Refused: the sender is not accepted. A permanent failure.",
    ),
    Script(
        word="twice",
        digits="9917",
        meaning="Delivered; every receipt comes twice.",
        reports=_ARRIVES,
        twice=True,
    ),
    Script(
        word="optedout",
        digits="9918",
        meaning="Has opted out: refused before it is accepted.",
        suppressed=True,
    ),
    _fails(
        "deleted",
        "9919",
        FailureCode.PROVIDER_DELETED,
        "Taken, then deleted by the provider. A permanent failure.",
    ),
    _fails(
        "lost",
        "9920",
        FailureCode.PROVIDER_STATE_UNKNOWN,
        "Taken; the provider reports that it lost track of it.",
    ),
    _refused(
        "account",
        "9921",
        FailureCode.CONFIGURATION,
        "Refused: the account with the provider is set up wrongly.",
    ),
)
"""The magic recipients. Every failure that a provider can report has one."""

_BY_DIGITS: Final = {script.digits: script for script in SCRIPTS}
_BY_WORD: Final = {script.word: script for script in SCRIPTS}
_FIRST_WORD: Final = re.compile(r"[a-z]+")
_DIGITS: Final = 4
_BY_NUMBER: Final = frozenset({"sms", "whatsapp"})


class Play(msgspec.Struct, frozen=True):
    """What the sandbox does with one request: its answer after `pause`, and the receipts, each
    after a time of its own."""

    submission: Submission
    receipts: tuple[tuple[timedelta, Receipt], ...] = ()
    pause: timedelta = timedelta(0)


def reaches(key: Mode, message: Mode) -> bool:
    """Whether a key of this mode may see and withdraw such messages: a test key no live ones."""
    return key is Mode.LIVE or message is Mode.TEST


def script_of(channel: str, address: str) -> Script:
    """The script that a recipient chooses, by an address in its normal form."""
    if channel in _BY_NUMBER:
        return _BY_DIGITS.get(address[-_DIGITS:], DELIVERED)
    word = _FIRST_WORD.match(address.lower())
    return DELIVERED if word is None else _BY_WORD.get(word[0], DELIVERED)


def is_suppressed(channel: str, address: str) -> bool:
    """Whether the recipient stands for somebody who has opted out."""
    return script_of(channel, address).suppressed


def play(request: DeliveryRequest, now: datetime) -> Play:
    """What becomes of one request, met `now` (aware UTC). The same request and time give the same
    play. The request names its channel."""
    channel = request.channel
    assert channel is not None
    if now >= request.not_after:
        return Play(_refusal(now, FailureCode.TOO_LATE))
    script = script_of(channel, request.to)
    if script.suppressed:
        # No pipeline stood before this message: a sandbox holds nobody's list but this one.
        return Play(_refusal(now, FailureCode.RECIPIENT_INVALID, "the recipient has opted out"))
    if script.refusal is not None and request.tries <= script.times:
        return Play(_refusal(now, script.refusal))
    pause = SOON if script.early else timedelta(0)
    answer = _answer(request, channel, script, now + pause)
    return Play(answer, tuple(_reports(request, script, now)), pause)


def _refusal(now: datetime, code: FailureCode, detail: str | None = None) -> Submission:
    busy = code is FailureCode.PROVIDER_THROTTLED
    return Submission(
        SubmissionState.BUSY if busy else SubmissionState.FAILED,
        at=now,
        begun_at=now,
        provider=PROVIDER,
        failure=Failure(code, provider_code=f"{PROVIDER}:{code.value}", detail=detail),
        retry_after=RETRY_AFTER if busy else None,
    )


def _answer(request: DeliveryRequest, channel: str, script: Script, now: datetime) -> Submission:
    if not script.answers:
        failure = Failure(FailureCode.OUTCOME_UNKNOWN, detail="the sandbox gives no answer")
        return Submission(
            SubmissionState.UNKNOWN, at=now, begun_at=now, provider=PROVIDER, failure=failure
        )
    segments = count_segments(request.content.text)[1] if channel == "sms" else None
    named = f"{PROVIDER}-{request.message}-{request.attempt}"
    return Submission(
        SubmissionState.TAKEN,
        at=now,
        begun_at=now,
        provider=PROVIDER,
        level=Level.SENT,
        provider_ids=tuple(f"{named}-{part + 1}" for part in range(segments or 1)),
        segments=segments,
    )


def _reports(
    request: DeliveryRequest, script: Script, now: datetime
) -> Iterator[tuple[timedelta, Receipt]]:
    assert request.channel is not None
    provable = CHANNELS[request.channel].provable
    after = timedelta(0) if script.early else SOON
    if script.late:
        after = request.not_after - now + AFTER_THE_STEP
    for said in script.reports:
        level = said if isinstance(said, Level) else None
        if level is not None and not provable.reaches(level):
            continue
        failure = None
        if isinstance(said, FailureCode):
            failure = Failure(said, provider_code=f"{PROVIDER}:{said.value}")
        receipt = Receipt(
            attempt=request.attempt,
            at=now + after,
            level=level,
            failure=failure,
            provider=PROVIDER,
            provider_status=said.value,
            id=f"{PROVIDER}/{request.attempt}/{said.value}",
            final=said is script.reports[-1],
        )
        yield after, receipt
        if script.twice:
            yield after, receipt
        after += SOON
