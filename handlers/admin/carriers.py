"""/admin/v1/carriers: list, add, change, suspend, drain, resume, remove."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from adapters.smpp.carriers.config import CarrierConfig
from adapters.smpp.carriers.faults import CarrierInvalid
from adapters.smpp.carriers.mesh import UnknownCarrier
from adapters.smpp.carriers.operations import CarrierExists, CarrierOperations
from handlers.admin.operation import Endpoint, Operation, answer
from handlers.admin.problems import PREFIX, OperatorProblem, carrier_invalid
from handlers.admin.requests import json_object


def carriers(operations: CarrierOperations) -> list[Operation]:
    """The operations on this resource."""

    async def list_carriers(request: Request) -> Response:
        """Every carrier with its health and its configuration, passwords hidden."""
        return answer({"carriers": operations.list()})

    async def add_carrier(request: Request) -> Response:
        """Add a carrier, which dials at once. The body is a `[[carriers]]` table as JSON."""
        return answer(await operations.add(await json_object(request)), 201)

    async def show_carrier(request: Request) -> Response:
        """One carrier with its health and its configuration, the password hidden."""
        return answer(operations.get(_name(request)))

    async def change_carrier(request: Request) -> Response:
        """Change some settings by a JSON merge patch (RFC 7386); null is back to the default.
        Connections are made anew, one after the other, only where they must."""
        return answer(await operations.change(_name(request), await json_object(request)))

    async def remove_carrier(request: Request) -> Response:
        """Drain a carrier and forget it. One of the configuration file stays removed until it is
        resumed or added."""
        await operations.remove(_name(request))
        return answer({"name": _name(request), "state": "removed"})

    async def suspend_carrier(request: Request) -> Response:
        """Give it no more work. Its binds stay and bring receipts."""
        return answer(await operations.suspend(_name(request)))

    async def drain_carrier(request: Request) -> Response:
        """Give it no more work, let what is in flight be answered, unbind. Receipts that are
        still to come wait with the carrier: suspend it first, to hear them."""
        return answer(await operations.drain(_name(request)))

    async def resume_carrier(request: Request) -> Response:
        """Give it work again."""
        return answer(await operations.resume(_name(request)))

    one = PREFIX + "carriers/{name}"
    table: list[tuple[str, str, Endpoint]] = [
        ("GET", PREFIX + "carriers", list_carriers),
        ("GET", one, show_carrier),
        ("PATCH", one, change_carrier),
        ("DELETE", one, remove_carrier),
        ("POST", one + "/suspend", suspend_carrier),
        ("POST", one + "/drain", drain_carrier),
        ("POST", one + "/resume", resume_carrier),
    ]
    return [
        Operation("POST", PREFIX + "carriers", _told(add_carrier), body=CarrierConfig, status=201),
        *(Operation(method, path, _told(endpoint)) for method, path, endpoint in table),
    ]


def _told(endpoint: Endpoint) -> Endpoint:
    """What the operations refuse, as problems."""

    async def telling(request: Request) -> Response:
        try:
            return await endpoint(request)
        except CarrierInvalid as error:
            raise carrier_invalid(error) from None
        except UnknownCarrier as error:
            raise OperatorProblem("carrier_not_found", f"There is no carrier {error}.") from None
        except CarrierExists:
            raise OperatorProblem("carrier_exists") from None

    telling.__name__, telling.__doc__ = endpoint.__name__, endpoint.__doc__
    return telling


def _name(request: Request) -> str:
    name: str = request.path_params["name"]
    return name
