"""The options of the simulator: each is a flag, and can be changed while it runs.

To add one: a field of Options and its line in OPTIONS; the flag, `GET /options`, `PATCH /options`
and `--help` follow.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, field

from adapters.smpp.protocol.constants import CommandStatus
from adapters.smpp.protocol.session import DEFAULT_TIMERS, Timers
from infra.simulators.options import (
    FRACTION,
    SECONDS,
    SWITCH,
    Option,
    as_json,
    changed,
    choice,
    number,
    whole,
)
from infra.simulators.smsc.kinds import (
    ID_FORMAT,
    STATUS,
    STATUS_EVERY,
    STATUS_OR_NONE,
    IdFormat,
    StatusEvery,
)
from infra.simulators.smsc.receipts import FORMATS, MIXED, STYLES


class Options(Struct, frozen=True, kw_only=True):
    """How a simulator behaves. OPTIONS says what each means; delays are seconds.

    `system_id`, `password`, `accounts` (more of them, password by system_id) and `timers` are for
    the start only.
    """

    system_id: str = "hermes"
    password: str = "hermes"  # noqa: S105
    accounts: dict[str, str] = field(default_factory=dict)
    timers: Timers = field(default=DEFAULT_TIMERS)

    rate: float = 0.0
    throttle_burst_s: float = 0.1
    throttle_status: int = CommandStatus.ESME_RTHROTTLED
    throttle_count: int = 3
    status_every: StatusEvery | None = None
    bind_status: int | None = None
    response_delay: float = 0.0
    receipt_delay: float = 0.2
    late_delay: float = 10.0
    hold_receipts: bool = False
    receipt_rate: float = 0.0
    receipt_format: str = "tlv+text"
    receipt_style: str = "standard"
    id_format: IdFormat = IdFormat()
    intermediate: bool = False
    early_receipts: float = 0.0
    duplicate_receipts: float = 0.0
    shuffle_receipts: float = 0.0
    seed: int = 0
    receipts_to: str = "same"
    window: int = 200
    mute: bool = False
    kill_every: float = 0.0
    accept_binds: bool = True
    keep: int = 200_000

    def changed(self, changes: Mapping[str, Any]) -> "Options":
        """These options with some changed; values are as JSON gives them.

        Raises:
            OptionsError: a name is unknown or a value is not right; every such one is named.
        """
        return changed(self, OPTIONS, changes)

    def as_json(self) -> dict[str, Any]:
        """All that can be changed, as `changed` takes it."""
        return as_json(self, OPTIONS)


_ANSWERS = "answers to submissions"
_RECEIPTS = "receipts"
_LINKS = "links"
_RECORD = "what is remembered"

OPTIONS: Final[dict[str, Option]] = {
    "rate": Option(
        _ANSWERS, number(), "submissions taken a second, over all binds; 0: as many as come"
    ),
    "throttle_burst_s": Option(
        _ANSWERS, SECONDS, "so many seconds' worth of the rate may come at once, at least one"
    ),
    "throttle_status": Option(
        _ANSWERS, STATUS, "what is above the rate gets this: ESME_RTHROTTLED or ESME_RMSGQFUL"
    ),
    "throttle_count": Option(
        _ANSWERS, whole(0, 1_000_000), "a number that ends in 9906 refuses so many submissions"
    ),
    "status_every": Option(_ANSWERS, STATUS_EVERY, "every Nth submission gets this status"),
    "response_delay": Option(
        _ANSWERS, SECONDS, "between a submission, which is taken at once, and its response"
    ),
    "receipt_delay": Option(_RECEIPTS, SECONDS, "between the response and the receipt"),
    "late_delay": Option(_RECEIPTS, SECONDS, "the same for a number that ends in 9901"),
    "hold_receipts": Option(
        _RECEIPTS, SWITCH, "what is due is kept back; without it again, it comes, oldest first"
    ),
    "receipt_rate": Option(
        _RECEIPTS, number(), "so many a second of those that were kept back; 0: all at once"
    ),
    "receipt_format": Option(_RECEIPTS, choice(*FORMATS), "where a receipt says what it says"),
    "receipt_style": Option(
        _RECEIPTS, choice(*STYLES, MIXED), "how its text is written; mixed: each in turn"
    ),
    "id_format": Option(_RECEIPTS, ID_FORMAT, "message ids in the response and in the receipt"),
    "intermediate": Option(
        _RECEIPTS, SWITCH, "an intermediate notification (ENROUTE) with each response"
    ),
    "early_receipts": Option(
        _RECEIPTS, FRACTION, "of the messages get their receipt before the response"
    ),
    "duplicate_receipts": Option(_RECEIPTS, FRACTION, "of the receipts are sent twice"),
    "shuffle_receipts": Option(
        _RECEIPTS, SECONDS, "receipts come up to so much later, out of order"
    ),
    "seed": Option(_RECEIPTS, whole(0, 2**63 - 1), "of the random delays"),
    "receipts_to": Option(
        _RECEIPTS,
        choice("same", "any"),
        "same: to the bind that submitted, if it can receive; any: to another of the account",
    ),
    "window": Option(
        _RECEIPTS,
        whole(1, 1_000_000),
        "receipts and messages in flight on a bind",
    ),
    "mute": Option(
        _LINKS, SWITCH, "sockets stay open and nothing is read or answered, on new ones too"
    ),
    "kill_every": Option(_LINKS, SECONDS, "cut every connection so often; 0: never"),
    "accept_binds": Option(
        _LINKS, SWITCH, "without: every connection is cut and new ones are refused by the system"
    ),
    "bind_status": Option(_LINKS, STATUS_OR_NONE, "refuse binds with this status"),
    "keep": Option(
        _RECORD, whole(1, 10_000_000), "submissions for /submits, /accepted and /duplicates"
    ),
}
"""What can be set: the flags, and the keys of PATCH /options."""
