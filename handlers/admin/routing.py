"""/admin/v1/routes/explain of a bind pool: what it would do with a message."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from adapters.smpp.carriers.choice import CarrierChoice
from domain.routing.explanation import Asked, Explanation
from handlers.admin.operation import Operation, answer
from handlers.admin.problems import PREFIX
from handlers.admin.requests import body_of


def routing(choice: CarrierChoice) -> list[Operation]:
    """The operations of a pool's router."""

    async def explain_carriers(request: Request) -> Response:
        """Which carriers a message would take from this pool now, and why; nothing is sent. The
        API's operators ask its API instead, which knows the other providers, too."""
        return answer(choice.explain(await body_of(request, Asked)))

    return [
        Operation(
            "POST", PREFIX + "routes/explain", explain_carriers, body=Asked, answer=Explanation
        )
    ]
