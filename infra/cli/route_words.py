"""The router's reasons in words."""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]

WHYS: Final[dict[str, str]] = {
    "only": "the only one",
    "named": "asked for",
    "pinned": "pinned by the tenant's rules",
    "up": "those before it are down",
    "room": "those before it have no room",
    "untried": "those before it have failed the message",
    "tenant_order": "first in the tenant's order",
    "own": "the tenant's own",
    "sound": "those before it work badly",
    "priority": "first by priority",
    "cheapest": "cheapest",
    "closest": "longest prefix",
    "steady": "chosen before, and no other is clearly better",
    "better": "delivers more, or sooner",
    "share": "its share",
    "first": "all else equal, first in the list",
    "not_pinned": "another is pinned",
    "down": "down",
    "no_room": "no room",
    "failed_before": "has failed the message",
    "shared": "not the tenant's own",
    "poor": "delivers much less than others",
    "lower_priority": "lower priority",
    "dearer": "dearer",
    "wider": "shorter prefix",
    "worse": "delivers less, or later",
    "not_its_turn": "another's share",
    "later": "later in the list",
}
LEFT_OUT: Final[dict[str, str]] = {
    "disabled": "disabled",
    "other_tenant": "for other tenants",
    "other_destination": "for other destinations",
    "other_operator": "for other networks",
    "other_number_type": "for other kinds of numbers",
    "other_category": "for other categories",
    "other_sender": "for other senders",
    "not_named": "another one is asked for",
    "excluded": "excluded by the tenant's rules",
    "not_own": "the tenant takes only its own",
    "too_dear": "beyond the tenant's highest price",
    "unknown_provider": "there is no such provider",
}


def why_in_words(code: str) -> str:
    """The reason for a candidate's place, as a person reads it."""
    return WHYS.get(code) or code.replace("_", " ")


def left_out_in_words(code: str) -> str:
    """Why a route is no candidate, as a person reads it."""
    return LEFT_OUT.get(code) or code.replace("_", " ")


def choice_in_words(choice: Any) -> str:
    """A choice as one line of a timeline tells it: the route and its reason, then the others."""
    told = []
    for candidate in choice.get("candidates") or ():
        facts = [str(candidate["price"])] if candidate.get("price") else []
        if candidate.get("rate") is not None:
            facts.append(f"{candidate['rate']:.0%} delivered")
        known = f" ({', '.join(facts)})" if facts else ""
        told.append(f"{candidate['route']}{known}: {why_in_words(str(candidate['why']))}")
    if choice.get("others"):
        told.append(f"and {choice['others']} more")
    return "route " + " · ".join(told or [str(choice.get("route"))])
