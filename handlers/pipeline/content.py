"""The fourth layer: what a tenant lets go out in its name."""

from __future__ import annotations

from typing import Final

import msgspec

from domain.content_rules import Action, Finding, check
from domain.verdict import Outcome, Verdict
from handlers.api.problems import FieldError, Problem
from handlers.pipeline.draft import Draft

_PASS: Final = Verdict("content")
_ECONOMICAL: Final = Verdict(
    "content", Outcome.CHANGE, "plain_characters", "typographic characters became plain"
)


class ContentLayer:
    """Applies the tenant's content rules: length, links, words, places that nobody filled."""

    name: Final = "content"

    def check(self, draft: Draft) -> Verdict:
        """Raises Problem `content_refused` with everything that is refused.

        A verdict names the rule and the field: never what the text says, which may be a one-time
        password.
        """
        order = draft.order
        channels = frozenset(step.channel for step in order.plan)
        content, findings = check(draft.tenant.content, order.content, order.category, channels)
        if findings:
            refused = [finding for finding in findings if finding.action is Action.REFUSE]
            if refused:
                raise _refused(refused, templated=order.template is not None)
        if content is not order.content:
            draft.order = msgspec.structs.replace(order, content=content)
        if findings:
            named = dict.fromkeys(f"{finding.code} in {finding.field}" for finding in findings)
            places = ", ".join(named)
            outcome = Outcome.PASS if content is order.content else Outcome.CHANGE
            return Verdict("content", outcome, findings[0].code, places)
        return _PASS if content is order.content else _ECONOMICAL


def _refused(findings: list[Finding], *, templated: bool) -> Problem:
    """`templated` content is at fault where the request names its template."""
    return Problem(
        "content_refused",
        errors=[
            FieldError(
                finding.code,
                finding.detail,
                "/template" if templated else f"/content/{finding.field}",
            )
            for finding in findings
        ],
    )
