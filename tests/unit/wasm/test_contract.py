"""The payloads, their schemas, and the WIT."""

import json
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator

from adapters.wasm import contract
from adapters.wasm.contract import (
    Answer,
    GuestContent,
    HttpError,
    HttpFailure,
    HttpResponse,
    InboundText,
    Message,
    Reported,
    SendResult,
    Template,
    Webhook,
)
from adapters.wasm.runtime.program import HOST, PLUGIN
from domain.message import Category
from tests.unit.wasm.host.conftest import MANIFEST

SCHEMAS = Path(contract.__file__).parent / "schemas"
WIT = Path(contract.__file__).parent / "wit" / "hermes-adapter.wit"


def test_the_schemas_are_fresh():
    found = {path.name: path.read_text() for path in SCHEMAS.iterdir()}
    assert found == contract.schemas(), "python -m adapters.wasm.contract writes them anew"


def test_wit_and_contract_are_of_one_version():
    package = f"package hermes:adapter@{contract.CONTRACT_VERSION};"
    assert package in WIT.read_text()
    assert HOST.endswith(f"@{contract.CONTRACT_VERSION}")
    assert PLUGIN.endswith(f"@{contract.CONTRACT_VERSION}")


MESSAGE = Message(
    id="msg_1",
    attempt=1,
    channel="sms",
    to="+45",
    sender=None,
    content=GuestContent("Hi", template=Template("t", "da", ("a",)), data={"a": "b"}),
    category=Category.OTP,
    reference="ref",
    callback_url="https://x",
    not_after=msgspec.convert("2030-01-01T00:00:00Z", contract.Moment),
)
REQUEST = {"method": "POST", "url": "https://x", "headers": [["a", "b"]], "body": ""}
FAILED = {"id": "1", "failure": {"code": "timeout"}, "final": True}
REPORT = {"id": "1", "level": "sent", "final": False, "at": "2030-01-01T00:00:00Z"}


def _json(payload: object) -> object:
    return msgspec.json.decode(msgspec.json.encode(payload))


VALID = [
    ("message", _json(MESSAGE)),
    ("webhook", _json(Webhook("POST", {"ref": "1"}, "text/plain", "body"))),
    ("http-response", _json(HttpResponse(200, (("a", "b"),), "body"))),
    ("http-failure", _json(HttpFailure(HttpError("dns", "no such name")))),
    ("manifest", MANIFEST),
    ("on-message-answer", {"sendHttp": REQUEST}),
    ("on-message-answer", {"done": {"ok": True, "level": "sent", "provider_ids": ["1"]}}),
    ("on-message-answer", {"done": {"ok": False, "code": "internal", "retry_after": 1.5}}),
    ("on-delivery-report-answer", {"done": {"reports": [REPORT, FAILED]}}),
    (
        "on-delivery-report-answer",
        {"done": {"inbound": [{"id": "1", "from": "+45", "to": "+46", "text": "Hi"}]}},
    ),
    ("on-health-check-answer", {"done": {"ok": False, "detail": "down"}}),
]

INVALID = [
    ("on-message-answer", {"sendHttp": {**REQUEST, "method": "TRACE"}}),
    ("on-message-answer", {"sendHttp": {**REQUEST, "follow": True}}),
    ("on-message-answer", {"done": {"ok": True, "level": "sent"}, "sendHttp": REQUEST}),
    ("on-message-answer", {}),
    ("on-message-answer", {"done": {"level": "sent"}}),
    ("on-message-answer", {"done": {"ok": False, "code": "bad_luck"}}),
    *(
        (
            "on-delivery-report-answer",
            {"done": {"reports": [{**FAILED, "failure": {"code": code}}]}},
        )
        for code in (
            *("too_late", "ttl_expired", "canceled", "insufficient_funds"),
            *("recipient_blocked", "account_suspended"),
        )
    ),
    ("on-message-answer", {"done": {"ok": True, "level": "sent", "final": True}}),
    ("on-delivery-report-answer", {"done": {"reports": [{**REPORT, "level": "gone"}]}}),
    ("on-delivery-report-answer", {"done": {"reports": [{**REPORT, "id": ""}]}}),
    ("on-health-check-answer", {"done": {}}),
    ("manifest", {**MANIFEST, "channels": []}),
    ("manifest", {**MANIFEST, "hosts": ["127.0.0.1"]}),
    ("manifest", {**MANIFEST, "extra": 1}),
]


def _is_valid(name: str, payload: object) -> bool:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema).is_valid(payload)


def _is_read(name: str, payload: object) -> bool:
    from adapters.wasm.manifest import Manifest

    try:
        msgspec.convert(payload, {**contract.SCHEMAS, "manifest": Manifest}[name])
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.parametrize(("name", "payload"), VALID)
def test_schema_and_types_agree_on_what_is_right(name, payload):
    assert _is_read(name, payload)
    assert _is_valid(name, payload)


@pytest.mark.parametrize(("name", "payload"), INVALID)
def test_schema_and_types_agree_on_what_is_wrong(name, payload):
    assert not _is_read(name, payload)
    assert not _is_valid(name, payload)


def test_what_is_from_in_json_is_the_sender():
    assert msgspec.to_builtins(MESSAGE)["from"] is None
    read = msgspec.convert({"id": "1", "from": "+45", "to": "+46", "text": ""}, InboundText)
    assert read.sender == "+45"


@pytest.mark.parametrize("result", [SendResult, Reported])
def test_an_answer_is_a_request_or_an_end(result):
    for wrong in ({}, {"done": {"ok": True, "level": "sent"}, "sendHttp": REQUEST}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, Answer[result])
