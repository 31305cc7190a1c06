"""Draw a message's timeline: the one picture of it that every command shows.

```
    0.000 s  ●          accepted
    0.004 s  ┌ sms      step 1 of 2, up to 3 s
    0.021 s  │          simulator took it               id 7B21
    3.006 s  │          ✗ no proof of success in time   timeout
    3.006 s  ┌ email    step 2 of 2, up to 30 s
    3.090 s  │          ✓ relay took it: sent
    3.094 s  ●          SENT by email
```

Works on the API's JSON, so that it draws what any Hermes of the same major version answers:
unknown events are shown by name, absent fields left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from infra.cli.console import seconds, status_style
from infra.cli.route_words import choice_in_words

Json = Mapping[str, Any]

_OFFSET_WIDTH = 9
_CHANNEL_WIDTH = 9
_NOTE_WIDTH = 24
_WIDEST = 96  # beyond, the eye loses the way to the notes at the right edge
_NARROW = 64  # below, notes go on a line of their own

_ASCII = str.maketrans({"●": "o", "┌": "+", "│": "|", "┊": ":", "✓": "+", "✗": "x", "…": "."})


@dataclass(frozen=True)
class Line:
    """One entry of the timeline, ready to be laid out at any width.

    `note` is the short fact at the right edge: a failure code, a provider's id or word.
    """

    offset: str
    rail: str
    channel: str
    text: str
    style: str = ""
    note: str = ""
    note_style: str = "quiet"
    flags: tuple[str, ...] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, _WIDEST)
        margin = 2 + _OFFSET_WIDTH + 4 + _CHANNEL_WIDTH
        narrow = width < _NARROW
        if narrow:
            margin = 1 + _OFFSET_WIDTH + 4
        head = Text()
        head.append(f"{self.offset:>{_OFFSET_WIDTH + (1 if narrow else 2)}}  ", style="quiet")
        open_rail = self.rail in "│┊"
        head.append(self.rail, style="quiet" if open_rail else self.style or "channel")
        head.append(" ")
        if not narrow:
            head.append(f"{self.channel:<{_CHANNEL_WIDTH}.{_CHANNEL_WIDTH - 1}}", style="channel")
        body = Text(self.text, style=self.style)
        if narrow and self.channel:
            body = Text.assemble((self.channel, "channel"), "  ", body)
        for flag in self.flags:
            body.append("  ")
            body.append(f"[{flag}]", style="warn.strong")
        room = max(width - margin, 12)
        note = Text(self.note, style=self.note_style)
        beside = (
            not narrow
            and bool(self.note)
            and body.cell_len + 2 + max(note.cell_len, _NOTE_WIDTH) <= room
        )
        if beside:
            body.append(" " * (room - body.cell_len - max(note.cell_len, _NOTE_WIDTH)))
            body.append_text(note)
            note = Text()
        lines = [*body.wrap(console, room), *(note.wrap(console, room) if note else ())]
        rail = " " if self.rail == "●" else "│" if self.rail == "┌" else self.rail
        continued = Text(" " * (margin - (2 if narrow else 2 + _CHANNEL_WIDTH)))
        continued.append(rail + " ", style="quiet")
        if not narrow:
            continued.append(" " * _CHANNEL_WIDTH)
        for number, line in enumerate(lines):
            row = (head if number == 0 else continued.copy()).append_text(line)
            row.rstrip()
            if options.ascii_only:
                row = Text(row.plain.translate(_ASCII), spans=row.spans)
            yield row


@dataclass
class TimelineReader:
    """Turns timeline entries into lines, oldest first; knows what came before."""

    message: Json
    _began: datetime = field(init=False)
    _steps: int = field(init=False)
    _ended: bool = field(init=False, default=False)
    _expected: Json | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._began = _time(self.message["created_at"])
        self._steps = len(self.message.get("plan") or ())

    def lines(self, entries: Iterable[Json]) -> Iterator[Line]:
        """The next entries' lines. Layers that had nothing to say share one."""
        silent: list[str] = []
        for entry in entries:
            verdict = entry.get("verdict") or {}
            if verdict.get("outcome") == "pass" and not verdict.get("code"):
                detail = verdict.get("detail")
                silent.append(f"{verdict.get('layer')}" + (f" ({detail})" if detail else ""))
                passed = {**entry, "verdict": {"outcome": "pass", "layers": tuple(silent)}}
                continue
            if silent:
                yield self.line(passed)
                silent = []
            yield from self._with_route(entry)
        if silent:
            yield self.line(passed)

    def _with_route(self, entry: Json) -> Iterator[Line]:
        """The entry's line, and before an attempt's why its route was chosen.

        A step's own choice is what acceptance expected: the attempt's, which is made when it is
        handed over, stands in its place.
        """
        if entry.get("event") == "step":
            self._expected = entry.get("route")
        elif entry.get("event") in _HANDED_OVER:
            choice = entry.get("route") or self._expected
            self._expected = None
            if choice:
                yield self.line({"at": entry["at"], "event": "route", "route": choice})
        yield self.line(entry)

    def line(self, entry: Json) -> Line:
        """The next entry's line."""
        event = str(entry.get("event", "?"))
        describe = _DESCRIPTIONS.get(event, _describe_unknown)
        late = bool(entry.get("late"))
        described = describe(self, entry)
        flags = tuple(
            flag
            for flag, on in (
                ("possible duplicate", entry.get("possible_duplicate")),
                ("late", late),
            )
            if on
        )
        rail = {"accepted": "●", "step": "┌", "ended": "●"}.get(event)
        if rail is None:
            rail = "┊" if self._ended or event == "scheduled" else "│"
        shows_channel = event == "step" or late
        if event == "ended":
            self._ended = True
        offset = (_time(entry["at"]) - self._began).total_seconds()
        return Line(
            offset=_offset(offset),
            rail=rail,
            channel=str(entry.get("channel") or "") if shows_channel else "",
            flags=flags,
            **described,
        )

    def step(self, number: int | None) -> Json:
        """The plan's step, counted from 1; empty when the message does not say."""
        plan = self.message.get("plan") or ()
        return plan[number - 1] if number and 0 < number <= len(plan) else {}

    @property
    def steps(self) -> int:
        """How many steps the plan has, 0 when the message does not say."""
        return self._steps


def lines(message: Json) -> Iterator[Line]:
    """The whole timeline of a message as the API answers it."""
    yield from TimelineReader(message).lines(message.get("timeline") or ())


class Timeline:
    """A message with head and timeline, to be printed."""

    def __init__(self, message: Json) -> None:
        self._message = message

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from heading(self._message)
        yield Text("")
        yield from lines(self._message)


def heading(message: Json) -> Iterable[Text]:
    """Which message it is, what became of it, and where it goes."""
    status = str(message.get("status", "?"))
    first = Text("  ")
    first.append(str(message.get("id", "")), style="strong")
    first.append("  ")
    first.append(status.upper(), style=f"{status_style(status)}.strong")
    if message.get("mode") == "test":
        first.append("\u00a0\u00a0test", style="warn")
    took = _took(message)
    if took:
        first.append(f"\u00a0\u00a0{took.replace(' ', chr(0xA0))}", style="quiet")
    if cost := message.get("cost"):
        first.append(f"\u00a0\u00a0{cost['charged']}\u00a0{cost['currency']}", style="quiet")
    yield first
    yield route(message)


def route(message: Json) -> Text:
    """The channels of the plan in order, each with the recipient's address on it."""
    to = message.get("to") or {}
    drawn = Text("  ")
    plan = [str(step["channel"]) for step in message.get("plan") or ()] or list(to)
    for number, channel in enumerate(plan):
        if number:
            drawn.append(" → ", style="quiet")
        drawn.append(channel, style="channel")
        address = to.get(channel)
        if address and channel not in plan[:number]:
            drawn.append(f" {address}")
    return drawn


def rests_until(message: Json) -> datetime | None:
    """When a message goes on that waits for its time or for the end of quiet hours; None when it
    waits for neither, or does not say."""
    if message.get("status") == "scheduled":
        send_at = message.get("send_at")
        return _time(send_at) if send_at else None
    happened = [e for e in message.get("timeline") or () if e.get("event") != "callback"]
    if happened and happened[-1].get("event") == "quiet_hours" and happened[-1].get("until"):
        return _time(happened[-1]["until"])
    return None


def clock(moment: datetime) -> str:
    """A time by the clock of whoever reads it, with its zone."""
    return f"{moment.astimezone():%d %b %H:%M:%S %Z}"


def waiting_for(message: Json, now: datetime) -> str:
    """What a message that is under way waits for at the time `now`, as a sentence."""
    entries = message.get("timeline") or ()
    if not entries:
        return "waiting"
    until = rests_until(message)
    if until is not None:
        rest = _countdown((until - now).total_seconds())
        if message.get("status") == "scheduled":
            return f"scheduled: begins in {rest}"
        return f"waiting for the end of quiet hours in {rest}"
    begun = next((entry for entry in reversed(entries) if entry.get("event") == "step"), None)
    if begun is None:
        return "about to begin"
    reader = TimelineReader(message)
    step = reader.step(begun.get("step"))
    what = {
        "submitted": "waiting for the receipt",
        "receipt": "waiting for more",
        "deferred": "waiting for room",
        "outcome_unknown": "waiting for a receipt to settle it",
        "cancel_requested": "canceling",
        "quiet_hours": "waiting for the end of quiet hours",
    }.get(str(entries[-1].get("event")), "working")
    timeout = step.get("timeout")
    if timeout is None:
        return what
    left = float(timeout) - (now - _time(begun["at"])).total_seconds()
    following = reader.step((begun.get("step") or 0) + 1).get("channel")
    then = f"{following} next" if following else "gives up"
    return f"{what}: {then} in {_countdown(left)}"


# --- what each event says -----------------------------------------------------------------------

Description = dict[str, Any]


def _describe_accepted(reader: TimelineReader, entry: Json) -> Description:
    return {"text": "accepted", "style": "strong"}


def _describe_verdict(reader: TimelineReader, entry: Json) -> Description:
    verdict = entry.get("verdict") or {}
    if "layers" in verdict:
        return {"text": f"passed {', '.join(verdict['layers'])}", "style": "quiet"}
    said = {"pass": "let it pass", "change": "changed it", "defer": "put it off"}
    outcome = str(verdict.get("outcome") or "?")
    text = f"{verdict.get('layer')} {said.get(outcome, outcome)}"
    if verdict.get("detail"):
        text += f": {verdict['detail']}"
    code = str(verdict.get("code") or "")
    return {"text": text, "style": "warn", "note": code, "note_style": "warn"}


def _describe_scheduled(reader: TimelineReader, entry: Json) -> Description:
    until = entry.get("until") or reader.message.get("send_at")
    return {"text": f"waits until {clock(_time(until))}" if until else "waits"}


def _describe_quiet_hours(reader: TimelineReader, entry: Json) -> Description:
    text = f"{entry.get('channel')} waits for the end of quiet hours"
    if until := entry.get("until"):
        text += f", until {clock(_time(until))}"
    return {"text": text, "style": "warn"}


def _describe_step(reader: TimelineReader, entry: Json) -> Description:
    number = entry.get("step")
    step = reader.step(number)
    text = f"step {number}" if number else "next step"
    if number and reader.steps:
        text += f" of {reader.steps}"
    if step.get("timeout") is not None:
        text += f", up to {seconds(float(step['timeout']))}"
    return {"text": text, "style": "strong"}


def _describe_route(reader: TimelineReader, entry: Json) -> Description:
    return {"text": choice_in_words(entry["route"]), "style": "quiet"}


def _describe_submitted(reader: TimelineReader, entry: Json) -> Description:
    provider = entry.get("provider") or "the provider"
    level = entry.get("level")
    text = f"{provider} took it"
    segments = entry.get("segments")
    if segments and segments > 1:
        text += f" in {segments} segments"
    ids = [str(one) for one in entry.get("provider_ids") or ()]
    note = str(entry.get("provider_status") or "")
    if ids and not note:
        note = f"id {_short(ids[0])}" + (f" +{len(ids) - 1}" if len(ids) > 1 else "")
    done = _ends_step(reader, entry)
    if level and level != "accepted":
        text += f": {level}"
    if cost := entry.get("cost"):
        when = ", if it arrives" if cost["rule"] == "delivered" else ""
        text += f" ({cost['amount']} {cost['currency']}{when})"
    return {"text": f"✓ {text}" if done else text, "style": "good" if done else "", "note": note}


def _describe_deferred(reader: TimelineReader, entry: Json) -> Description:
    provider = entry.get("provider") or "the provider"
    text = f"{provider} is busy"
    if entry.get("retry_after") is not None:
        text += f", next try in {seconds(float(entry['retry_after']))}"
    return {"text": text, "style": "warn", **_failure_note(entry, "warn")}


def _describe_unknown_outcome(reader: TimelineReader, entry: Json) -> Description:
    return {
        "text": "? no answer: it may have been sent, or not",
        "style": "warn",
        **_failure_note(entry, "warn"),
    }


def _describe_failed(reader: TimelineReader, entry: Json) -> Description:
    provider = entry.get("provider")
    failure = entry.get("failure") or {}
    said = failure.get("detail") or failure.get("meaning")
    text = said or (f"{provider} refused it" if provider else "the attempt failed")
    return {"text": f"✗ {text.rstrip('.')}", "style": "bad", **_failure_note(entry, "bad")}


def _describe_receipt(reader: TimelineReader, entry: Json) -> Description:
    failure = entry.get("failure")
    if failure:
        said = str(failure.get("detail") or failure.get("meaning") or "it did not arrive")
        said = said[:1].lower() + said[1:].rstrip(".")
        return {"text": f"✗ receipt: {said}", "style": "bad", **_failure_note(entry, "bad")}
    level = str(entry.get("level") or "")
    text = f"receipt: {level or 'received'}"
    note = str(entry.get("provider_status") or "")
    if _ends_step(reader, entry):
        return {"text": f"✓ {text}", "style": "good", "note": note}
    return {"text": text, "note": note}


def _describe_timeout(reader: TimelineReader, entry: Json) -> Description:
    return {
        "text": "✗ no proof of success in time",
        "style": "bad",
        "note": "timeout",
        "note_style": "bad",
    }


def _describe_cancel(reader: TimelineReader, entry: Json) -> Description:
    return {"text": "cancel requested", "style": "warn"}


def _describe_ended(reader: TimelineReader, entry: Json) -> Description:
    status = str(entry.get("status") or reader.message.get("status") or "ended")
    text = status.upper()
    channel = reader.message.get("channel")
    if status in ("sent", "delivered") and channel:
        text += f" by {channel}"
    failure = entry.get("failure") or (
        reader.message.get("failure") if status not in ("sent", "delivered") else None
    )
    style = status_style(status)
    code = str((failure or {}).get("code") or "")
    note = "" if code == status else code
    return {"text": text, "style": f"{style}.strong", "note": note, "note_style": style}


def _describe_unknown(reader: TimelineReader, entry: Json) -> Description:
    return {"text": str(entry.get("event", "?")).replace("_", " "), **_failure_note(entry, "bad")}


_CALLBACK_STATES = {"delivered": ("told", ""), "given_up": ("✗ not told", "bad")}


def _describe_callback(reader: TimelineReader, entry: Json) -> Description:
    callback = entry.get("callback") or {}
    tries = int(callback.get("tries") or 0)
    state = str(callback.get("state") or "?")
    waits = ("waits to be told", "warn" if tries else "quiet")
    said, style = _CALLBACK_STATES.get(state, waits)
    event = str(callback.get("type") or "event").removeprefix("message.")
    text = f"{said}: {event} to {_short(str(callback.get('endpoint') or '?'))}"
    if tries > 1 or (tries and state == "waiting"):
        text += f", {tries} {'try' if tries == 1 else 'tries'}"
    return {
        "text": text,
        "style": style or "quiet",
        "note": str(callback.get("error") or ""),
        "note_style": style or "quiet",
    }


_DESCRIPTIONS: dict[str, Callable[[TimelineReader, Json], Description]] = {
    "accepted": _describe_accepted,
    "verdict": _describe_verdict,
    "scheduled": _describe_scheduled,
    "quiet_hours": _describe_quiet_hours,
    "step": _describe_step,
    "route": _describe_route,
    "submitted": _describe_submitted,
    "deferred": _describe_deferred,
    "outcome_unknown": _describe_unknown_outcome,
    "failed": _describe_failed,
    "receipt": _describe_receipt,
    "timeout": _describe_timeout,
    "cancel_requested": _describe_cancel,
    "ended": _describe_ended,
    "callback": _describe_callback,
}

_HANDED_OVER = frozenset({"submitted", "deferred", "outcome_unknown", "failed"})

# --- small facts --------------------------------------------------------------------------------

_RANKS = {level: rank for rank, level in enumerate(("accepted", "sent", "delivered", "read"))}


def _ends_step(reader: TimelineReader, entry: Json) -> bool:
    """True when the entry's level is what its step wanted (or the plan is not known)."""
    number = entry.get("step")
    step = reader.step(number)
    if not step:
        channel = entry.get("channel")
        plan = reader.message.get("plan") or ()
        step = next((step for step in plan if step.get("channel") == channel), {})
    level, wanted = str(entry.get("level")), str(step.get("success", "delivered"))
    return _RANKS.get(level, -1) >= _RANKS.get(wanted, len(_RANKS))


def _failure_note(entry: Json, style: str) -> Description:
    failure = entry.get("failure") or {}
    parts = [str(failure[name]) for name in ("code", "provider_code") if failure.get(name)]
    return {"note": " · ".join(parts), "note_style": style}


def _took(message: Json) -> str:
    if not message.get("ended_at"):
        return ""
    took = (_time(message["ended_at"]) - _time(message["created_at"])).total_seconds()
    return f"after {seconds(max(took, 0.0))}"


def _offset(value: float) -> str:
    if value < 60:
        return f"{round(value, 3) + 0.0:.3f} s"  # + 0.0: never "-0.000"
    return seconds(value)


def _countdown(left: float) -> str:
    if left <= 0:
        return "a moment"
    return f"{left:.1f} s" if left < 10 else seconds(float(round(left)))


def _short(text: str) -> str:
    return text if len(text) <= 16 else text[:15] + "…"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
