"""No test message can reach a provider, and no live one can end in the sandbox."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path
from unittest.mock import MagicMock

import msgspec
import pytest
from restate import Service, TerminalError

import handlers.delivery
from domain.delivery import SANDBOX_SERVICE, DeliveryRequest
from domain.mode import Mode
from handlers.delivery.options import LiveRequests
from tests.unit.sandbox.test_scripts import request

ROOT = Path(handlers.delivery.__file__).parents[2]


def delivery_services() -> dict[str, Service]:
    """Every service that `handlers/delivery` can make, before ports that must not be touched."""
    made = {}
    for module in pkgutil.iter_modules(handlers.delivery.__path__):
        found = importlib.import_module(f"handlers.delivery.{module.name}")
        for name, create in vars(found).items():
            if name.startswith("create_") and getattr(create, "__module__", "") == found.__name__:
                ports = [MagicMock(name=port) for port in inspect.signature(create).parameters]
                service = create(*ports)
                made[service.name] = service
    return made


SERVICES = delivery_services()
REAL = {name: service for name, service in SERVICES.items() if name != SANDBOX_SERVICE}


def test_the_services_are_found():
    assert set(SERVICES) >= {"SmsDelivery", "EmailDelivery", "AdapterDelivery", SANDBOX_SERVICE}


@pytest.mark.parametrize("name", REAL)
def test_every_delivery_service_refuses_a_test_message(name):
    serde = REAL[name].handlers["deliver"].handler_io.input_serde
    asked = request("sms", "+4520123456")
    with pytest.raises(TerminalError) as refused:
        serde.deserialize(msgspec.json.encode(asked))
    assert refused.value.status_code == 403
    live = msgspec.structs.replace(asked, mode=Mode.LIVE)
    assert serde.deserialize(msgspec.json.encode(live)) == live


@pytest.mark.parametrize("name", REAL)
def test_nothing_else_takes_a_request(name):
    """A second handler that read requests by itself would be a second door."""
    for handler in REAL[name].handlers.values():
        hints = inspect.get_annotations(handler.fn, eval_str=True)
        takes_requests = DeliveryRequest in hints.values()
        assert takes_requests is isinstance(handler.handler_io.input_serde, LiveRequests)


def test_requests_are_read_in_two_places_only():
    """By every provider's service with the guard, by the sandbox without it; the cascade writes."""
    allowed = {
        "handlers/delivery/options.py",  # with the guard
        "handlers/delivery/sandbox.py",
        "virtual_objects/journey.py",
        "infra/bench/durable_caller.py",
    }
    readers = {
        str(path.relative_to(ROOT))
        for folder in ("adapters", "handlers", "virtual_objects", "infra")
        for path in (ROOT / folder).rglob("*.py")
        if any(_reads_requests(node) for node in ast.walk(ast.parse(path.read_text())))
    }
    assert readers <= allowed


def _reads_requests(node: ast.AST) -> bool:
    """`JsonSerde(DeliveryRequest)`, `Decoder(DeliveryRequest)`, `decode(type=DeliveryRequest)`."""
    if not isinstance(node, ast.Call):
        return False
    given = [*node.args, *(keyword.value for keyword in node.keywords)]
    return any(isinstance(value, ast.Name) and value.id == "DeliveryRequest" for value in given)


@pytest.mark.parametrize("mode", [Mode.LIVE])
async def test_the_sandbox_takes_no_live_message(mode):
    deliver = SERVICES[SANDBOX_SERVICE].handlers["deliver"].fn
    context = MagicMock()

    async def clock() -> float:
        return 1_777_000_000.0

    context.time = clock
    answer = await deliver(context, request("sms", "+4520123456", mode=mode))
    assert answer.failure.code.value == "internal"
    context.generic_send.assert_not_called()
