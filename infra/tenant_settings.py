"""Every setting of a tenant, as a page: made from the types that check them.

What a setting means stands here, in one table; its type, bounds and default are the code's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import Enum
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

from domain.tenancy import Tenant

MEANINGS: Final[dict[str, str]] = {
    "tier": "How much of Hermes is the tenant's own: `dedicated` may have senders, routes and "
    "`routing` of its own, `custom` adapters as well",
    "suspended": "Nothing is accepted, and what still waits fails; it may look, withdraw and erase",
    "limits": "How much it may send; see below for what counts where",
    "limits.tenant": "The rate of all messages together: at most `count` in any `seconds`, all of "
    "which may come at once; then one has room every `seconds / count`. `rate_limited` beyond it",
    "limits.tenant.count": "Messages",
    "limits.tenant.seconds": "In this time",
    "limits.key": "The same, of each API key by itself",
    "limits.key.count": "Messages",
    "limits.key.seconds": "In this time",
    "limits.recipient": "The same, of one address of a channel, by category: none for a category "
    "that is not named. `recipient_capped` beyond it",
    "limits.recipient.CATEGORY.count": "Messages",
    "limits.recipient.CATEGORY.seconds": "In this time",
    "limits.daily": "Live messages a day, which ends at midnight UTC; `quota_exceeded` beyond it. "
    "On the day when it is first set, messages count from then on",
    "opt_out": "What its numbers do with STOP, START and HELP",
    "opt_out.keywords": "Off leaves the words to the tenant, who gets the message in any case",
    "opt_out.stop_blocks": "The categories that a STOP ends",
    "opt_out.replies": "Whether people are answered",
    "opt_out.name": "How the tenant calls itself in Hermes's answers; its id without one",
    "opt_out.stop_reply": "Its own answer to STOP; no command itself",
    "opt_out.start_reply": "Its own answer to START; no command itself",
    "opt_out.help_reply": "Its own answer to HELP; no command itself",
    "content": "What a text may have; [Content](pipeline.md#content) says more",
    "content.max_segments": "Segments of an SMS; the channel itself takes at most 10",
    "content.too_long": "What becomes of an SMS with more",
    "content.encoding": "`economical` puts plain characters for typographic ones where that saves "
    "an SMS from UCS-2",
    "content.placeholders": "What becomes of places that nobody filled, as `{{name}}`",
    "content.links": "Which links a text may have",
    "content.links.hosts": "The only hosts of links, with everything below them; any without it",
    "content.links.shorteners": "What becomes of links at public shorteners",
    "content.links.otp": "What becomes of links in one-time passwords to telephones",
    "content.keywords": "Words that a text may not have, by rules",
    "content.keywords[].words": "Whole words or phrases, whatever their case",
    "content.keywords[].action": "What becomes of a text with one",
    "content.keywords[].categories": "In these categories only; in all without any",
    "compliance": "Quiet hours, senders and what marketing says; "
    "[Compliance](pipeline.md#compliance) says more",
    "compliance.marketing": "Quiet hours of marketing, by the recipient's clock; `null` for none. "
    "A country's law counts besides",
    "compliance.marketing.start": "Quiet from here",
    "compliance.marketing.end": "Quiet until here, over midnight where it comes before `start`",
    "compliance.marketing.days": "Days that are quiet all day: 0 is Monday",
    "compliance.transactional": "Quiet hours of transactional messages; one-time passwords never "
    "wait",
    "compliance.transactional.start": "As above",
    "compliance.transactional.end": "As above",
    "compliance.transactional.days": "As above",
    "compliance.time_zone": "The clock that counts where a recipient's address tells none",
    "compliance.senders": "What becomes of an SMS from a sender that is not approved",
    "compliance.opt_out_hint": "What becomes of marketing by SMS that does not say how to end it",
    "defaults": "What counts where a message does not say it itself",
    "defaults.locale": "The recipients' language, for templates",
    "defaults.senders": "The sender by channel, such as `defaults.senders.sms=Acme`",
    "defaults.senders.CHANNEL": "A sender that the channel takes",
    "defaults.dedup_window": "Seconds in which the same content to the same addresses is refused; "
    "no such check without it",
    "retention": "When what names a person is taken out of a message; "
    "[Privacy](privacy.md) says more",
    "retention.days": "Days after a message's end",
    "retention.test_days": "The same, for messages of test keys",
    "routing": "Its own say in the choice of routes, from the tier `dedicated` on; "
    "[Routing](routing.md) says more",
    "routing.strategy": "What orders routes of the same priority; Hermes's own without it",
    "routing.pins": "Routes that messages to some destinations take as long as they are up",
    "routing.pins[].route": "The route",
    "routing.pins[].channel": "Of which channel",
    "routing.pins[].prefixes": "To numbers that begin so; to all without any, and without "
    "countries",
    "routing.pins[].countries": "To numbers of these countries",
    "routing.order": "Routes that are tried before all others, in this order",
    "routing.exclude": "Routes that are never taken",
    "routing.weights": "Weights of routes, which go before the routes' own",
    "routing.weights.ROUTE": "A route's weight",
    "routing.own_only": "Leaves out the routes that are for everybody",
    "routing.max_price": "What a segment may cost at most; what has no price is not left out",
}
"""By the setting's whole key. A test says which are missing, and which are gone."""

_INTRODUCTION: Final = """\
# Settings of a tenant

<!-- Made by `make docs` from the types in `domain/tenancy.py`; the meanings stand in
`infra/tenant_settings.py`. -->

`hermes tenants show acme` lists them with their values, `hermes tenants set` changes some, and so
does `PATCH /admin/v1/tenants/{id}` with a JSON merge patch. `null` is back to the default. Every
process uses a change within a second, and `hermes audit` shows it. All that is wrong is told
together, and then nothing was changed.

```bash
hermes tenants set acme content.max_segments=3 retention.days=30
hermes tenants set acme limits.tenant.count=100 limits.tenant.seconds=1
hermes tenants set acme limits.recipient.otp.count=5 limits.recipient.otp.seconds=3600
hermes tenants set acme content.links.hosts=shop.example,pay.example
hermes tenants set acme 'content.keywords=[{"words": ["free money"], "action": "flag"}]'
```

Where a setting is `refuse`, `flag` or `allow`, a flagged message goes, and its timeline says so. A
key with `[]` stands in the objects of a list, which is set as a whole; CATEGORY, CHANNEL and
ROUTE stand for a key of that kind. `tenant`, `key` and `recipient` of `limits` are counted in each
API process by itself: with two behind one address, each is half of what both may take. `daily` is
the tenant's, whatever the number of processes.
"""

_KEYS: Final = {
    "limits.recipient": "CATEGORY",
    "defaults.senders": "CHANNEL",
    "routing.weights": "ROUTE",
}
_NOT_GIVEN: Final = object()


class Setting(NamedTuple):
    """One line of the page."""

    key: str
    kind: str
    default: str


def settings() -> list[Setting]:
    """Every setting, and every group of them, in the order of the types."""
    return list(_of_struct(Tenant, "", Tenant("")))


def markdown() -> str:
    """The page."""
    lines = [_INTRODUCTION, "| setting | type | default | what |", "|---|---|---|---|"]
    for setting in settings():
        cells = (f"`{setting.key}`", setting.kind, setting.default, MEANINGS[setting.key])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _of_struct(kind: type[msgspec.Struct], above: str, value: Any) -> Iterator[Setting]:
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        if not above and field.name == "id":
            continue
        if isinstance(value, msgspec.Struct):
            default = getattr(value, field.name)
        else:
            default = _NOT_GIVEN if field.required else _default(field)
        yield from _of_field(above + field.name, hints[field.name], default)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    factory = field.default_factory
    return field.default if factory is msgspec.NODEFAULT else factory()


def _of_field(key: str, kind: Any, default: Any) -> Iterator[Setting]:
    plain = _plain(kind)
    origin, arguments = get_origin(plain), get_args(plain)
    if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
        shown = "none" if default is None else ""
        yield Setting(key, "object", shown)
        yield from _of_struct(plain, key + ".", default)
    elif origin is dict:
        yield Setting(key, "object", _shown(default))
        yield from _below(f"{key}.{_KEYS[key]}", arguments[1])
    elif origin is tuple and issubclass(_class(arguments[0]), msgspec.Struct):
        yield Setting(key, _words(kind), _shown(default))
        yield from _of_struct(arguments[0], f"{key}[].", None)
    else:
        yield Setting(key, _words(kind), _shown(default))


def _below(key: str, kind: Any) -> Iterator[Setting]:
    """What stands under each key of a mapping."""
    if issubclass(_class(kind), msgspec.Struct):
        yield from _of_struct(kind, key + ".", None)
    else:
        yield Setting(key, _words(kind), "")


def _plain(kind: Any) -> Any:
    """The type without bounds and without null."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        (one,) = (each for each in get_args(kind) if each is not NoneType)
        return _plain(one)
    return kind


def _class(kind: Any) -> type:
    plain = _plain(kind)
    return plain if isinstance(plain, type) else object


def _meta(kind: Any) -> list[msgspec.Meta]:
    if get_origin(kind) is Annotated:
        metas = [one for one in kind.__metadata__ if isinstance(one, msgspec.Meta)]
        return [*metas, *_meta(get_args(kind)[0])]
    if get_origin(kind) in (Union, UnionType):
        return [meta for one in get_args(kind) for meta in _meta(one)]
    return []


def _words(kind: Any) -> str:
    """A type and its bounds, for people."""
    plain, metas = _plain(kind), _meta(kind)
    origin, arguments = get_origin(plain), get_args(plain)
    if plain is bool:
        return "`true` or `false`"
    if isinstance(plain, type) and issubclass(plain, Enum):
        return ", ".join(f"`{member.value}`" for member in plain)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (tuple, list, frozenset, set):
        least = next((meta.min_length for meta in metas if meta.min_length), 0)
        most = next((meta.max_length for meta in metas if meta.max_length), None)
        many = (
            "" if most is None else f" of up to {most}" if not least else f" of {least} to {most}"
        )
        objects = issubclass(_class(arguments[0]), msgspec.Struct)
        return f"list{many}: {'objects' if objects else _words(arguments[0])}"
    if plain in (int, float):
        name = "whole number" if plain is int else "number"
        return f"{name}{_range(metas)}"
    if plain is str:
        return _text(metas)
    return "decimal number"


def _range(metas: list[msgspec.Meta]) -> str:
    least, above, most = (
        next((value for meta in metas if (value := getattr(meta, name)) is not None), None)
        for name in ("ge", "gt", "le")
    )
    if least is not None:
        return f", {least:,} to {most:,}"
    return "" if above is None else f", above {above:,} to {most:,.15g}"


def _text(metas: list[msgspec.Meta]) -> str:
    described = next((meta.description for meta in metas if meta.description), None)
    example = next((meta.examples[0] for meta in metas if meta.examples), None)
    least = next((meta.min_length for meta in metas if meta.min_length is not None), None)
    most = next((meta.max_length for meta in metas if meta.max_length is not None), None)
    said = "text" if most is None else f"text of {least} to {most} characters"
    if described is not None:
        # A sentence elsewhere. Names such as ISO stay in capitals.
        first = described[:1].lower() if described[1:2].islower() or described[1:2] == " " else ""
        said = (first + described[1:] if first else described).rstrip(".")
    return said if example is None else f"{said}, as `{example}`"


def _shown(default: Any) -> str:
    if default is _NOT_GIVEN:
        return "required"
    if default in (None, (), {}):
        return "none"
    if isinstance(default, frozenset):
        return ", ".join(f"`{item.value}`" for item in sorted(default, key=lambda one: one.value))
    if isinstance(default, Enum):
        return f"`{default.value}`"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"
