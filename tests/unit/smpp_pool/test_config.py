"""A carrier's account: what is refused, with the path of the key and what would be right."""

import pytest
from pydantic import ValidationError

from adapters.smpp.carriers.config import CarrierConfig, Host, Tls, host_of, status_of
from adapters.smpp.carriers.outcomes import declared
from domain.failures import FailureCode

RIGHT = {
    "name": "carrier",
    "hosts": ["smsc.example:2775"],
    "system_id": "me",
    "password": "hunter2",
}
REQUIRED = ("name", "hosts", "system_id", "password")
THIS_FILE = __file__
HOST_PORT = "host:port"


def errors(**wrong):
    """The faults of an account, by path."""
    with pytest.raises(ValidationError) as caught:
        CarrierConfig.model_validate({**RIGHT, **wrong})
    return {".".join(map(str, error["loc"])): error["msg"] for error in caught.value.errors()}


WRONG = [
    # key, value, path of the error, what it says would be right
    ("name", "", "name", "a-z, 0-9"),
    ("name", "Carrier", "name", "a-z, 0-9"),
    ("name", "-a", "name", "a letter or digit first"),
    ("name", "x" * 33, "name", "up to 32"),
    ("hosts", [], "hosts", HOST_PORT),
    ("hosts", "smsc.example:2775", "hosts", "a list"),
    ("hosts", ["smsc.example"], "hosts.0", HOST_PORT),
    ("hosts", ["a:1", ":2775"], "hosts.1", HOST_PORT),
    ("hosts", ["a:port"], "hosts.0", HOST_PORT),
    ("hosts", ["a:٣"], "hosts.0", HOST_PORT),
    ("hosts", ["a b:2775"], "hosts.0", HOST_PORT),
    ("hosts", ["smpp://a:2775"], "hosts.0", HOST_PORT),
    ("hosts", ["me:secret@a:2775"], "hosts.0", HOST_PORT),
    ("hosts", ["2001:db8::1:2775"], "hosts.0", "[2001:db8::1]:2775"),
    ("hosts", ["[2001:db8::1:2775"], "hosts.0", HOST_PORT),
    ("hosts", ["[smsc.example]:2775"], "hosts.0", "IPv6 address"),
    ("hosts", ["a:0"], "hosts.0", "1 to 65535"),
    ("hosts", ["a:65536"], "hosts.0", "1 to 65535"),
    ("hosts", ["a:1", "b:1", "a:1"], "hosts", "a:1 is there twice"),
    ("bind", "transmitter", "bind", "'transceiver' or 'transmitter+receiver'"),
    ("binds", 0, "binds", "greater than or equal to 1"),
    ("binds", 65, "binds", "less than or equal to 64"),
    ("binds", 1.5, "binds", "valid integer"),
    ("tls", "yes", "tls", "true, false or a table with ca_file"),
    ("tls", None, "tls", "true, false or a table with ca_file"),
    ("tls", {"ca_file": "/nowhere"}, "tls.ca_file", "is no file"),
    ("tls", {"cert_file": "/nowhere"}, "tls.cert_file", "is no file"),
    ("tls", {"key_file": THIS_FILE}, "tls.key_file", "cert_file beside it"),
    ("tls", {"verify": False}, "tls.verify", "not permitted"),
    ("system_id", "", "system_id", "at least 1"),
    ("system_id", "x" * 16, "system_id", "at most 15"),
    ("system_id", "mé", "system_id", "ASCII"),
    ("password", "x" * 9, "password", "room for 8"),
    ("password", "a\0b", "password", "without NUL"),
    ("password", "env:HERMES_NOT_SET", "password", "HERMES_NOT_SET is not set"),
    ("password", "file:/nowhere", "password", "cannot read /nowhere"),
    ("system_type", "x" * 13, "system_type", "at most 12"),
    ("address_range", "x" * 41, "address_range", "at most 40"),
    ("window", 0, "window", "greater than or equal to 1"),
    ("window", 10_001, "window", "less than or equal to 10000"),
    ("rate", 0, "rate", "greater than 0"),
    ("rate", float("nan"), "rate", "less than or equal to 100000"),
    ("rate", float("inf"), "rate", "less than or equal to 100000"),
    ("bind_rate", -1, "bind_rate", "greater than 0"),
    ("enquire_link_interval", 0, "enquire_link_interval", "greater than 0"),
    ("enquire_link_interval", 601, "enquire_link_interval", "less than or equal to 600"),
    ("response_timeout", 0, "response_timeout", "greater than 0"),
    ("response_timeout", 3601, "response_timeout", "less than or equal to 3600"),
    ("default_sender", "", "default_sender", "at least 1"),
    ("default_sender", "x" * 21, "default_sender", "at most 20"),
    ("source_numeric", {"ton": 256, "npi": 0}, "source_numeric.ton", "less than or equal to 255"),
    ("source_alphanumeric", {"npi": 256}, "source_alphanumeric.npi", "less than or equal to 255"),
    ("destination", {"ton": 1, "npi": -1}, "destination.npi", "greater than or equal to 0"),
    ("service_type", "x" * 6, "service_type", "at most 5"),
    ("default_alphabet", "ascii", "default_alphabet", "'gsm7' or 'latin1'"),
    ("concatenation", "udh", "concatenation", "'udh8', 'udh16' or 'sar'"),
    ("validity", 59, "validity", "greater than or equal to 60"),
    ("validity", 7 * 86400 + 1, "validity", "less than or equal to 604800"),
    ("receipts", "some", "receipts", "'all', 'intermediate' or 'none'"),
    ("ids", {"response": "octal"}, "ids.response", "'text', 'decimal' or 'hex'"),
    ("ids", {"response": "hex"}, "ids", "say hex or decimal for both"),
    ("ids", {"receipt": "decimal"}, "ids", "say hex or decimal for both"),
    ("command_status", {"ESME_NONE": "throttled"}, "command_status.ESME_NONE.[key]", "0x0408"),
    ("command_status", {"1032": "throttled"}, "command_status.1032.[key]", "ESME_RSYSERR"),
    ("command_status", {"0x100000000": "throttled"}, "command_status.0x100000000.[key]", "0x0408"),
    ("command_status", {"ESME_ROK": "throttled"}, "command_status.ESME_ROK.[key]", "is success"),
    ("command_status", {"0x0": "throttled"}, "command_status.0x0.[key]", "is success"),
    ("command_status", {"0x400": "slow"}, "command_status.0x400", "provider_error"),
    ("command_status", {"0x400": "canceled"}, "command_status.0x400", "write throttled, or one of"),
    (
        "command_status",
        {"ESME_RTHROTTLED": "throttled", "0x58": "provider_error"},
        "command_status",
        "ESME_RTHROTTLED and 0x58 are the same status",
    ),
    ("prefixes", "45", "prefixes", "a list"),
    ("prefixes", ["45", "4x"], "prefixes.1", "first digits"),
    ("prefixes", [""], "prefixes.0", "first digits"),
    ("prefixes", ["1" * 16], "prefixes.0", "first digits"),
    ("price", -1, "price", "greater than or equal to 0"),
    ("price", "0.0000001", "price", "no more than 6 decimal places"),
    ("windows", 10, "windows", "not permitted"),
]


@pytest.mark.parametrize(("key", "value", "path", "right"), WRONG)
def test_what_is_wrong_is_named_with_what_would_be_right(key, value, path, right):
    found = errors(**{key: value})
    assert list(found) == [path]
    assert right in found[path]


def test_every_key_has_a_wrong_value_above():
    assert {key for key, *_ in WRONG} >= set(CarrierConfig.model_fields)


@pytest.mark.parametrize("key", REQUIRED)
def test_what_is_required(key):
    with pytest.raises(ValidationError) as caught:
        CarrierConfig.model_validate({k: v for k, v in RIGHT.items() if k != key})
    [error] = caught.value.errors()
    assert (error["loc"], error["type"]) == ((key,), "missing")


def test_every_fault_is_named_at_once():
    assert set(errors(window=0, hosts=["a"], tls={"ca_file": "/nowhere"})) == {
        "window",
        "hosts.0",
        "tls.ca_file",
    }


@pytest.mark.parametrize("password", ["S3cretS3cret", "S3c\0ret", "S3crét"])
def test_no_value_is_in_an_error(password):
    with pytest.raises(ValidationError) as caught:
        CarrierConfig.model_validate({**RIGHT, "password": password, "window": 0})
    assert "S3c" not in str(caught.value)
    assert all("S3c" not in error["msg"] for error in caught.value.errors())


def test_a_password_shows_nowhere():
    config = CarrierConfig.model_validate(RIGHT)
    assert "hunter2" not in f"{config!r} {config} {config.model_dump()} {config.model_dump_json()}"
    assert config.password.get_secret_value() == "hunter2"


def test_a_password_comes_from_the_environment_or_a_file(monkeypatch, tmp_path):
    monkeypatch.setenv("CARRIER_PASSWORD", "fromenv")
    (tmp_path / "password").write_text("fromfile\n")
    found = [
        CarrierConfig.model_validate({**RIGHT, "password": place}).password.get_secret_value()
        for place in ("env:CARRIER_PASSWORD", f"file:{tmp_path / 'password'}")
    ]
    assert found == ["fromenv", "fromfile"]


def test_tls_unless_plain_tcp_is_said():
    assert CarrierConfig.model_validate(RIGHT).tls is True
    assert CarrierConfig.model_validate({**RIGHT, "tls": False}).tls is False
    table = CarrierConfig.model_validate({**RIGHT, "tls": {"ca_file": THIS_FILE}}).tls
    assert isinstance(table, Tls)
    assert str(table.ca_file) == THIS_FILE


def test_bind_rate_is_within_rate():
    found = errors(rate=10, bind_rate=11)
    assert list(found) == ["bind_rate"]
    assert "exceeds rate" in found["bind_rate"]
    assert CarrierConfig.model_validate({**RIGHT, "rate": 10, "bind_rate": 10}).bind_rate == 10


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("smsc.example:2775", ("smsc.example", 2775)),
        ("192.0.2.1:1", ("192.0.2.1", 1)),
        ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
        ("[::1]:2775", ("::1", 2775)),
    ],
)
def test_hosts(text, host):
    assert host_of(text) == Host(*host)
    assert CarrierConfig.model_validate({**RIGHT, "hosts": [text]}).hosts == (text,)


@pytest.mark.parametrize(
    ("key", "status"),
    [("ESME_RTHROTTLED", 0x58), ("0x58", 0x58), ("0x0408", 0x408), ("0xFfFfFfFf", 0xFFFFFFFF)],
)
def test_command_status(key, status):
    assert status_of(key) == status


def test_what_a_command_status_means():
    config = CarrierConfig.model_validate(
        {**RIGHT, "command_status": {"0x400": "throttled", "0x401": "sender_rejected"}}
    )
    meanings = [declared(meaning) for meaning in config.command_status.values()]
    assert [(m.throttled, m.code) for m in meanings] == [
        (True, FailureCode.PROVIDER_THROTTLED),
        (False, FailureCode.SENDER_REJECTED),
    ]


def test_prefixes_lose_their_plus():
    config = CarrierConfig.model_validate({**RIGHT, "prefixes": ["+45", "4670"]})
    assert config.prefixes == ("45", "4670")


def test_a_running_account_cannot_be_changed_in_place():
    config = CarrierConfig.model_validate(RIGHT)
    with pytest.raises(ValidationError, match="frozen"):
        config.window = 1
