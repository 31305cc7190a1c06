"""Manifests: what is taken, and where what is refused says that it is wrong."""

import json
import re
import time

import pytest

from adapters.wasm.contract import CONTRACT_VERSION
from adapters.wasm.manifest import (
    MAX_PATTERNED,
    MAX_VALUE,
    ConfigurationKey,
    Limits,
    ManifestError,
    MetaWebhook,
    read_manifest,
)
from adapters.wasm.manifest_faults import MOST_FAULTS

KEY = {"type": "string", "required": True, "secret": True, "description": "a key"}
MANIFEST = {
    "name": "acme-sms",
    "version": "1.2.3",
    "contract": CONTRACT_VERSION,
    "summary": "Acme's SMS API",
    "channels": ["sms"],
    "hosts": ["api.acme.example"],
    "webhook": {"scheme": "standard-webhooks", "secret": "key"},
    "configuration": {
        "key": KEY,
        "sid": {"type": "string", "required": True, "description": "x", "pattern": "AC[0-9]{4}"},
        "count": {"type": "integer", "description": "x", "default": 3},
        "test": {"type": "boolean", "description": "x"},
    },
}


def read(**changed):
    return read_manifest(json.dumps({**MANIFEST, **changed}))


def configured(**declared):
    return {"configuration": {**MANIFEST["configuration"], **declared}}


def test_a_whole_manifest():
    manifest = read()
    assert manifest.name == "acme-sms"
    assert manifest.limits == Limits()
    assert manifest.defaults() == {"count": 3}


def test_a_scheme_names_its_keys():
    meta = {"scheme": "meta", "secret": "key", "verify_token": "sid"}
    assert read(webhook=meta).webhook == MetaWebhook("key", "sid")


HOSTS = ["api.example.com", "*.example.com", "a-b.example.co.uk", "api.example.com:8443", "x.dk"]


@pytest.mark.parametrize("host", HOSTS)
def test_a_host(host):
    assert read(hosts=[host]).hosts == (host,)


NO_HOSTS = [
    "", "localhost", "127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::1]", "::1",
    "1.2.3.4:443", "*", "*.com.", "*.*.com", "a.*.com", "API.example.com", "api.example.com/",
    "https://api.example.com", "user@api.example.com", "api.example.com:0", "api.example.com:65536",
    "api.example.com:", "-a.example.com", "a..com", "a b.com", "api.example.com\n", "éa.com",
    "a.0x7f", "x" * 64 + ".com", "a." * 130 + "com",
]  # fmt: skip


@pytest.mark.parametrize("host", NO_HOSTS)
def test_what_is_no_host(host):
    with pytest.raises(ManifestError, match="hosts"):
        read(hosts=[host])


REFUSED = [
    ({"name": "Acme"}, "/name"),
    ({"name": "a"}, "/name"),
    ({"name": "acme\n"}, "/name"),
    ({"name": "../acme"}, "/name"),
    ({"version": "1.0"}, "/version"),
    ({"version": "01.0.0"}, "/version"),
    ({"version": "1.0.0\n"}, "/version"),
    ({"contract": "2.0.0"}, "/contract"),
    ({"summary": ""}, "/summary"),
    ({"channels": []}, "/channels"),
    ({"channels": ["fax"]}, "/channels/0"),
    ({"hosts": "api.example.com"}, "/hosts"),
    ({"webhook": {"scheme": "rot13", "secret": "key"}}, "/webhook/scheme"),
    ({"webhook": {"scheme": "twilio"}}, "secret"),
    ({"webhook": {"scheme": "twilio", "secret": "other"}}, "/webhook/secret"),
    ({"webhook": {"scheme": "twilio", "secret": "count"}}, "/webhook/secret"),
    ({"tokens": {"t": {"scheme": "oauth", "key": "key", "scope": "x"}}}, "/tokens"),
    (
        {"tokens": {"t": {"scheme": "google-service-account", "key": "no", "scope": "x"}}},
        "/tokens/t/key",
    ),
    ({"limits": {"memory_mb": 1_000}}, "/limits/memory_mb"),
    ({"limits": {"deadline_ms": 60_000}}, "/limits/deadline_ms"),
    ({"limits": {"cpus": 4}}, "cpus"),
    ({"extra": True}, "extra"),
    (configured(Bad=KEY), "/configuration"),
    (configured(x={**KEY, "type": "integer"}), "a secret is a string"),
    (configured(x={**KEY, "default": "x"}), "without a default"),
    (configured(x={"type": "integer", "description": "x", "default": "3"}), "the default"),
    (configured(x={"type": "integer", "description": "x", "default": True}), "the default"),
    (configured(x={"type": "integer", "description": "x", "pattern": "1"}), "pattern"),
    (configured(x={"type": "number", "description": "x"}), "/configuration"),
    (configured(x={"type": "string"}), "description"),
]


@pytest.mark.parametrize(("changed", "words"), REFUSED)
def test_what_is_wrong_and_where(changed, words):
    with pytest.raises(ManifestError, match=re.escape(words)):
        read(**changed)


def test_all_faults_are_told_together_in_plain_words():
    document = {
        "name": "Acme",
        "version": "1.0",
        "contract": "2.0.0",
        "sumary": "x",
        "channels": ["sms", "fax", 3],
        "hosts": ["https://x.com", 5],
        "webhook": {"scheme": "rot13"},
        "tokens": {"t": {"scheme": "oauth", "key": "key"}},
        "limits": {"memory_mb": 1_000, "fuel": "much"},
        "configuration": {
            "Bad": {"type": "string", "description": "x"},
            "a": {"type": "number", "description": ""},
            "b": {"type": "integer", "description": "x", "default": 1.5},
            "c": {"type": "string", "description": "x", "pattern": "(a+)+"},
            "d": 5,
        },
        "x/y": 1,
    }
    with pytest.raises(ManifestError) as error:
        read_manifest(json.dumps(document))
    assert str(error.value).splitlines() == [
        "/sumary is a key that there is not; perhaps it is summary",
        "/x~1y is a key that there is not",
        '/name has to be 2 to 32 of a-z, 0-9 and -, the first a letter, not "Acme"',
        '/version has to be three numbers such as 1.2.0, not "1.0"',
        '/contract has to be 1.0.0, not "2.0.0"',
        "/summary is missing",
        '/channels/1 has to be email, push, sms or whatsapp, not "fax"',
        "/channels/2 has to be email, push, sms or whatsapp, not 3",
        "/hosts/0 has to be a host's name such as api.example.com, *.example.com or "
        'example.com:8443, not "https://x.com"',
        "/hosts/1 has to be a text, not a whole number",
        '/webhook/scheme has to be twilio, sendgrid, meta or standard-webhooks, not "rot13"',
        '/tokens/t/scheme has to be google-service-account, not "oauth"',
        "/tokens/t/scope is missing",
        "/configuration/Bad has a name that has to be 1 to 64 of a-z, 0-9 and _, the first a "
        'letter, not "Bad"',
        '/configuration/a/type has to be boolean, integer or string, not "number"',
        "/configuration/a/description has to have 1 to 1,000 characters, not 0",
        "/configuration/b/default has to be a text, a whole number or true or false, not a number",
        "/configuration/c is not right: pattern: no groups",
        "/configuration/d has to be an object, not a whole number",
        "/limits/memory_mb has to be between 4 and 64, not 1,000",
        "/limits/fuel has to be a whole number, not a text",
    ]


def test_what_contradicts_itself_is_told_together():
    document = {
        **MANIFEST,
        "hosts": ["a.com:0", "b.com", "c.com:70000"],
        "webhook": {"scheme": "meta", "secret": "no", "verify_token": "count"},
        "configuration": {"count": {"type": "integer", "description": "x"}},
    }
    with pytest.raises(ManifestError) as error:
        read_manifest(json.dumps(document))
    assert [fault.pointer for fault in error.value.faults] == [
        "/hosts/0",
        "/hosts/2",
        "/webhook/secret",
        "/webhook/verify_token",
    ]


def test_no_more_is_told_than_anybody_reads():
    document = {**MANIFEST, **{f"key{number}": "x" * 9_000 for number in range(500)}}
    with pytest.raises(ManifestError) as error:
        read_manifest(json.dumps(document))
    assert len(error.value.faults) == MOST_FAULTS
    assert len(str(error.value)) < 100 * MOST_FAULTS


@pytest.mark.parametrize("text", ["", "{", "[]", "null", b"\xff", "[" * 100_000])
def test_what_is_no_manifest_at_all(text):
    with pytest.raises(ManifestError):
        read_manifest(text)


PATTERNS = ["AC[0-9a-f]{32}", r"\+?[0-9]{7,15}", "[^(*]{2}", r"\(\*", "a|b", "", "[]]", r"\d{4}",
    r"[\]*(]+", r"[\\]+", "[^]+*?]",
]  # fmt: skip
NO_PATTERNS = [
    "(a+)+", "(?:a|a)*", "(a)", "a*b*c*", "a?b?c?", "a{0,9}b{0,9}c{0,9}", r"a\1", "[", "a**",
    "a{99999999999}", "(?i)a", r"[\\](a+)+[x]", r"[\\]a*b*c*[x]", r"[^\\](a|a)*]",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern(pattern):
    assert ConfigurationKey(type="string", description="x", pattern=pattern).pattern == pattern


@pytest.mark.parametrize("pattern", NO_PATTERNS)
def test_what_is_no_pattern_or_may_take_long(pattern):
    with pytest.raises(ValueError, match="pattern"):
        ConfigurationKey(type="string", description="x", pattern=pattern)


@pytest.mark.parametrize("pattern", ["a*a*b", "a+a+", "[^b]*.*b", "a{1,}a{0,}b"])
def test_no_value_takes_long_to_match(pattern):
    key = ConfigurationKey(type="string", description="x", pattern=pattern)
    began = time.process_time()
    key.fault("a" * MAX_PATTERNED + "c")
    key.fault("a" * (MAX_PATTERNED - 1) + "c")
    assert time.process_time() - began < 0.5


FAULTS = [
    ({"key": "k", "sid": "AC1234"}, {}),
    ({"key": "k", "sid": "AC1234", "count": 5, "test": False}, {}),
    ({}, {"key": "is missing", "sid": "is missing"}),
    ({"key": "k", "sid": "AC1234", "other": 1}, {"other": "is unknown"}),
    ({"key": 1, "sid": "AC1234"}, {"key": "has to be of type string"}),
    ({"key": "k", "sid": "AC12345"}, {"sid": "does not match AC[0-9]{4}"}),
    ({"key": "k", "sid": "AC1234\n"}, {"sid": "does not match AC[0-9]{4}"}),
    ({"key": "k", "sid": "AC1234", "count": "5"}, {"count": "has to be of type integer"}),
    ({"key": "k", "sid": "AC1234", "count": True}, {"count": "has to be of type integer"}),
    ({"key": "k", "sid": "AC1234", "count": 5.0}, {"count": "has to be of type integer"}),
    ({"key": "k", "sid": "AC1234", "test": 1}, {"test": "has to be of type boolean"}),
    ({"key": "k", "sid": None}, {"sid": "has to be of type string"}),
    (
        {"key": "k" * (MAX_VALUE + 1), "sid": "AC1234"},
        {"key": f"has more than {MAX_VALUE:,} characters"},
    ),
]


@pytest.mark.parametrize(("given", "faults"), FAULTS)
def test_what_is_wrong_with_a_configuration(given, faults):
    assert read().faults(given) == faults
