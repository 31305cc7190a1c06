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
from handlers.admin.problems import OPERATOR_PROBLEMS
from handlers.api.problems import FIELD_ERRORS, PROBLEMS, Kind

WHO: Final[dict[Fault, str]] = {
    Fault.RECIPIENT: "recipient",
    Fault.SENDER: "you, who send",
    Fault.PROVIDER: "provider",
    Fault.HERMES: "Hermes",
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


class Code(NamedTuple):
    """One line of the page."""

    code: str
    shown: str  # the status, or where the code stands
    meaning: str
    fault: Fault
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
            "Problems of the operators' API",
            "Besides those above.",
            tuple(_problems(OPERATOR_PROBLEMS)),
        ),
    )


def code_of(name: str) -> Code | None:
    """A code of the tenants' API; None when there is none of this name."""
    for code in chain(_problems(PROBLEMS), _field_errors(), _failures()):
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
        yield Code(code, "errors", meaning, Fault.SENDER, True, _CORRECT)


def _failures() -> Iterator[Code]:
    for code, policy in POLICIES.items():
        yield Code(
            code.value, "failure", policy.meaning, policy.fault, policy.permanent, policy.remedy
        )


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
    return {"errors": "In the errors of a problem", "failure": "A failure of an attempt"}.get(
        code.shown, f"HTTP {code.shown}"
    )


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
