"""Every code that Hermes can answer with, as one page: made from the tables that it is raised from.

`/problems` serves it, and `docs/codes.md` is the same in Markdown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from itertools import chain
from typing import Final, NamedTuple

from domain.failures import POLICIES, Fault
from domain.sandbox import SCRIPTS
from domain.verdict import CODES as VERDICT_CODES
from handlers.admin.problems import OPERATOR_PROBLEMS
from handlers.api.problems import FIELD_ERRORS, PROBLEMS, Kind

WHO: Final[dict[Fault | None, str]] = {
    Fault.RECIPIENT: "recipient",
    Fault.SENDER: "you, who send",
    Fault.PROVIDER: "provider",
    Fault.HERMES: "Hermes",
    None: "nobody",
}

_PASSING: Final = frozenset({429, 500, 503})
_REMEDIES: Final[dict[int, str]] = {
    400: "Correct the request: the same one is refused again.",
    401: "Send a key that is good.",
    402: "Pay something in, or have the credit raised, and send again.",
    403: "Ask whoever runs Hermes, or use another key.",
    404: "Check the path and the id, and that it is yours.",
    405: "Use a method that the path knows.",
    409: "Look at how things stand; the same request is refused until they change.",
    413: "Send less at a time.",
    415: "Send the media type that the operation names.",
    422: "Correct what `errors` or `detail` name: the same request is refused again.",
    429: "Repeat after `Retry-After` seconds, more slowly.",
    500: "Repeat, with an `Idempotency-Key` where a message is sent; report `instance`.",
    503: "Repeat after `Retry-After` seconds, with an `Idempotency-Key` where a message is sent.",
}
_LATER: Final = "Repeat after `Retry-After` seconds."
_CORRECT: Final = "Correct the field and send again: nothing was accepted."
FIELD_REMEDIES: Final[dict[str, str]] = {
    "required": "Add the field.",
    "unknown_field": "Take it out, or correct its name: the API's docs list the fields.",
    "unknown_parameter": "Take it out, or correct its name: the API's docs list the parameters.",
    "repeated_parameter": "Send it once.",
    "wrong_type": "Send the JSON type that `detail` names: a number without quotation marks, say.",
    "unknown_value": "Send one of the values that `detail` lists.",
    "out_of_range": "Stay within the bound that `detail` names.",
    "nul_character": "Take the character out; it mostly comes from a wrong encoding.",
    "invalid_datetime": "Add the offset: `Z` for UTC, or as in `+02:00`.",
    "no_recipient": "Add an address to `to`, under the name of its channel.",
    "unknown_channel": "Use a channel that `detail` lists.",
    "empty_plan": "Leave `plan` out, or add a step to it.",
    "no_address_for_channel": "Add the address to `to`, or take the step out of the plan.",
    "no_provider_for_channel": "Activate an adapter for the channel, ask whoever runs Hermes for "
    "one, or take the step out.",
    "no_route": "Ask whoever runs Hermes for a route there; `POST /v1/routes/explain` says why "
    "there is none.",
    "success_not_provable": "Ask for the level that `detail` names, or for none.",
    "send_at_in_past": "Send a later time, or leave `send_at` out to send at once. Compare the "
    "clocks and the offset.",
    "send_at_too_far": "Hold the message back yourself, and send it when the time is within the "
    "bound that `detail` names.",
    "metadata_too_large": "Keep the rest on your side, under an id that metadata names.",
    "unknown_time_zone": "Write it as in Europe/Copenhagen, or leave it out.",
    "text_too_long": "Shorten the text, or split it into several messages.",
    "too_many_segments": "Shorten the text; characters outside GSM 7 bit, such as emoji, make "
    "segments of 67 characters of those of 153.",
    "unfilled_placeholder": "Fill the place before you send, or use a template of Hermes.",
    "link_shortened": "Link to a domain of your own.",
    "link_not_allowed": "Link to an allowed host, or have the tenant's `content.links.hosts` "
    "extended.",
    "link_in_otp": "Take the link out of the text.",
    "keyword": "Reword the text, or have the tenant's `content.keywords` changed.",
    "unknown_template": "Make the template first, or correct the name.",
    "unknown_template_version": "Name a version that there is, or leave it out for the active one.",
    "content_and_template": "Take one of the two out.",
    "variable_missing": "Send a value, or give the variable a default in the template.",
    "unknown_variable": "Take it out, or correct its name.",
    "sender_not_allowed": "Name another sender; one that is reserved or was rejected stays so.",
    "sender_not_numeric": "Name a number as the step's sender; or none, if the tenant has no "
    "default (`defaults.senders.sms`).",
    "sender_not_registered": "Have the sender registered there and approved for the country, or "
    "send from a number.",
    "sender_not_for_country": "Have it approved for the country, or name another sender.",
    "sender_not_approved": "Ask whoever runs Hermes to approve it, or name another sender.",
    "opt_out_hint_missing": "Add how to end it to the text.",
    "quiet_hours_outlast_ttl": "Give the message a longer `ttl`, or send it by day.",
    "timeout_beyond_ttl": "Give the message a longer `ttl`, or its steps shorter timeouts.",
    "not_a_number": "Write the number with + and country code: `+4520123456`.",
    "number_too_short": "Look whether digits or the country code are missing.",
    "number_too_long": "Look for digits too many, as the 0 that is left out behind the country "
    "code.",
    "unknown_country": "Look at the country code: a number of home is often written without.",
    "invalid_number": "Ask the person for the number again: nobody can have this one.",
    "not_a_mobile": "Ask for a mobile number, or use another channel.",
    "invalid_push_token": "Send the token as the app has it from its push service.",
    "push_too_large": "Shorten the text, or let the app fetch the rest.",
    "invalid_email_address": "Ask the person for the address again.",
}
"""Of the errors in fields for which there is more to say than to correct the field."""
_VERDICT_REMEDIES: Final[dict[str, str]] = {
    "template_rendered": "Nothing.",
    "plain_characters": "Nothing; the tenant's `content.encoding` decides.",
    "quiet_hours": "Nothing: it goes by itself. Withdraw it if it will be too late; the tenant's "
    "`compliance` has the hours.",
    "time_zone_unknown": "Send `recipient.time_zone`, or set the tenant's `compliance.time_zone`.",
}


class Code(NamedTuple):
    """One line of the page."""

    code: str
    shown: str  # the status, or where the code stands
    meaning: str
    fault: Fault | None
    permanent: bool
    remedy: str


class Section(NamedTuple):
    """Codes that stand in the same place."""

    title: str
    about: str
    codes: tuple[Code, ...]


def sections() -> tuple[Section, ...]:
    """The whole page."""
    return (
        Section(
            "Problems",
            "A request that is refused, or one message of a batch, as RFC 9457 problem details.",
            tuple(_problems(PROBLEMS)),
        ),
        Section(
            "Errors in fields",
            "In the `errors` of a problem, each with a JSON Pointer or the name of a parameter.",
            tuple(_field_errors()),
        ),
        Section(
            "Failures",
            "Why an attempt, a step or a message failed: in timelines, listings and callbacks.",
            tuple(_failures()),
        ),
        Section(
            "Verdicts",
            "What a layer found about a message that it let go: in the answer and in the timeline. "
            "A verdict may also have the code of an error in a field, where a tenant's settings "
            "only flag it, and `recipient_suppressed` where a channel was taken out of the plan.",
            tuple(_verdicts()),
        ),
        Section(
            "Problems of the operators' API",
            "Besides those above.",
            tuple(_problems(OPERATOR_PROBLEMS)),
        ),
    )


def code_of(name: str) -> Code | None:
    """A code of the tenants' API; None when there is none of this name."""
    for code in chain(_problems(PROBLEMS), _field_errors(), _failures(), _verdicts()):
        if code.code == name:
            return code
    return None


def _problems(kinds: Mapping[str, Kind]) -> Iterator[Code]:
    for code, kind in kinds.items():
        passes = kind.status in _PASSING if kind.passes is None else kind.passes
        fault = kind.fault or (Fault.SENDER if kind.status < 500 else Fault.HERMES)
        by_status = _LATER if passes and kind.status == 409 else _REMEDIES[kind.status]
        remedy = kind.remedy or by_status
        yield Code(code, str(kind.status), kind.documentation, fault, not passes, remedy)


def _field_errors() -> Iterator[Code]:
    for code, meaning in FIELD_ERRORS.items():
        remedy = FIELD_REMEDIES.get(code, _CORRECT)
        yield Code(code, "errors", meaning, Fault.SENDER, True, remedy)


def _failures() -> Iterator[Code]:
    for code, policy in POLICIES.items():
        yield Code(
            code.value, "failure", policy.meaning, policy.fault, policy.permanent, policy.remedy
        )


def _verdicts() -> Iterator[Code]:
    for code, meaning in VERDICT_CODES.items():
        yield Code(code, "verdict", meaning, None, False, _VERDICT_REMEDIES[code])


# As HTML

_HTML: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
  color: #1d2430; background: #fff; }}
h1 {{ font-size: 1.6rem; }} h2 {{ font-size: 1.2rem; margin-top: 2.5rem; }}
table {{ border-collapse: collapse; width: 100%; font-size: .9rem; }}
th, td {{ text-align: left; vertical-align: top; padding: .45rem .75rem .45rem 0;
  border-bottom: 1px solid #d8dde6; }}
code {{ font: .9em ui-monospace, monospace; }}
td:first-child, td:nth-child(2) {{ white-space: nowrap; }}
tr:target {{ background: #fff6d6; }}
a {{ color: inherit; }} a.here {{ text-decoration: none; }}
@media (prefers-color-scheme: dark) {{ body {{ color: #dfe4ec; background: #14181f; }}
  th, td {{ border-color: #333a46; }} tr:target {{ background: #3a3413; }} }}
@media (max-width: 48rem) {{ thead {{ display: none; }} tr {{ display: block; padding: .6rem 0;
  border-bottom: 1px solid #d8dde6; }} td {{ display: block; border: 0; padding: .1rem 0; }} }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
_COLUMNS: Final = ("Code", "Where", "What it means", "Whose fault", "Permanent", "What to do")


def page() -> str:
    """All codes, as HTML. Each is an anchor."""
    parts = ["<h1>Codes of Hermes</h1>", f"<p>{_html(_INTRODUCTION)}</p>"]
    for section in sections():
        parts += [f"<h2>{escape(section.title)}</h2>", f"<p>{_html(section.about)}</p>"]
        parts.append(_html_table(_COLUMNS, (_html_cells(code) for code in section.codes)))
    parts += [f"<h2>{_SANDBOX}</h2>", f"<p>{_html(_RECIPIENTS)}</p>"]
    parts.append(_html_table(_SCRIPT_COLUMNS, ((None, row) for row in _scripts())))
    return _HTML.format(title="Codes of Hermes", body="\n".join(parts))


def page_of(code: Code) -> str:
    """One code, as HTML: what a problem's `type` leads to."""
    facts = (
        ("What it means", code.meaning),
        ("What to do", code.remedy),
        ("Whose fault", WHO[code.fault]),
        ("Permanent", _permanent(code)),
    )
    body = [f"<h1><code>{escape(code.code)}</code></h1>", f"<p>{escape(_where(code))}</p>"]
    body += [f"<h2>{name}</h2>\n<p>{_html(text)}</p>" for name, text in facts]
    body.append('<p><a href="/problems">All codes</a></p>')
    return _HTML.format(title=escape(code.code), body="\n".join(body))


def _where(code: Code) -> str:
    return {
        "errors": "In the errors of a problem",
        "failure": "A failure of an attempt",
        "verdict": "A verdict of a layer",
    }.get(code.shown, f"HTTP {code.shown}")


def _html_cells(code: Code) -> tuple[str, tuple[str, ...]]:
    return code.code, (f"`{code.code}`", *_cells(code))


def _html_table(
    columns: tuple[str, ...], rows: Iterable[tuple[str | None, tuple[str, ...]]]
) -> str:
    head = "".join(f"<th>{name}</th>" for name in columns)
    lines = [f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>"]
    for anchor, cells in rows:
        named = "" if anchor is None else f' id="{escape(anchor)}"'
        lines.append(f"<tr{named}>" + "".join(f"<td>{_html(c)}</td>" for c in cells) + "</tr>")
    lines.append("</tbody>\n</table>")
    return "\n".join(lines)


def _html(text: str) -> str:
    """Text with `code` in backticks."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


# As Markdown

_INTRODUCTION: Final = (
    "Each code keeps its meaning for ever; new ones may come. `Permanent` says that the same "
    "request, or the same attempt, can never succeed later."
)
_SANDBOX: Final = "Magic recipients of the sandbox"
_RECIPIENTS: Final = (
    "A message of a test key (`hk_test_…`) reaches nobody and costs nothing; its recipient chooses "
    "what becomes of it: by the last four digits of a phone number, or by the word that an e-mail "
    "address or a push token begins with, such as `invalid@example.com`, `invalid+7@example.com` "
    "or `invalid:token`. Everybody else is reached."
)
_SCRIPT_COLUMNS: Final = ("Number ends in", "Address begins with", "What happens")


def markdown() -> str:
    """The page, for people who read the repository."""
    lines = [
        "# Codes",
        "",
        "<!-- Made by `make docs`; the tables are in the code that raises them. -->",
        "",
        _INTRODUCTION,
        "A running API serves this page at `/problems`.",
    ]
    for section in sections():
        lines += ["", f"## {section.title}", "", section.about, ""]
        rows = ((f"`{code.code}`", *_cells(code)) for code in section.codes)
        lines += _markdown_table(_COLUMNS, rows)
    lines += ["", f"## {_SANDBOX}", "", _RECIPIENTS, ""]
    lines += _markdown_table(_SCRIPT_COLUMNS, _scripts())
    return "\n".join(lines) + "\n"


def _markdown_table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _cells(code: Code) -> tuple[str, ...]:
    return (code.shown, code.meaning, WHO[code.fault], _permanent(code), code.remedy)


def _permanent(code: Code) -> str:
    return "yes" if code.permanent else "no"


def _scripts() -> Iterator[tuple[str, ...]]:
    for script in SCRIPTS:
        yield f"`{script.digits}`", f"`{script.word}`", script.meaning
