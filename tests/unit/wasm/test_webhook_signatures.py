"""Every scheme: what is good, bad, missing, stale, for another address, by another key, changed."""

import base64
import hashlib
import time
from dataclasses import replace
from urllib.parse import quote

import pytest
import sendgrid as vendor_sendgrid
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from standardwebhooks import Webhook
from twilio.request_validator import RequestValidator

from adapters.wasm.manifest import MetaWebhook, SendGridWebhook, StandardWebhook, TwilioWebhook
from adapters.wasm.webhooks import (
    REPLAY_WINDOW,
    Accepted,
    Challenge,
    Reason,
    Refused,
    faults,
    verify,
)
from tests.unit.wasm import signing
from tests.unit.wasm.signing import CONFIGURED, GOOD, JSON_BODY, META, NOW, URL, with_header

POSTED = {name: make for name, make in GOOD.items() if name != "twilio-get"}
TIMED = {name: make for name, make in GOOD.items() if make().timestamp}


def signing_key_of(private):
    """Its public half, as SendGrid shows one."""
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def each(table):
    return pytest.mark.parametrize("make", table.values(), ids=table.keys())


@each(GOOD)
def test_the_providers_own_is_accepted(make):
    case = make()
    assert case.verdict() == Accepted()
    secrets = {key: SecretStr(value) for key, value in CONFIGURED.items()}
    assert case.verdict(configured=secrets) == Accepted()


@each(GOOD)
def test_header_names_have_no_case(make):
    case = make()
    for change in (str.lower, str.upper):
        headers = tuple((change(name), value) for name, value in case.request.headers)
        assert case.verdict(replace(case.request, headers=headers)) == Accepted()


@each(GOOD)
def test_no_signature(make):
    case = make()
    for value in (None, "", "  "):
        unsigned = with_header(case.request, case.signature, value)
        assert case.verdict(unsigned) == Refused(Reason.MISSING)


@each(POSTED)
@pytest.mark.parametrize(
    "change",
    [
        lambda body: body + b" ",
        lambda body: body[:-1],
        lambda body: body.replace(b"delivered", b"failed"),
        lambda body: b"",
        lambda body: b"\xff\xfe" + body,
    ],
)
def test_a_changed_body(make, change):
    case = make()
    verdict = case.verdict(replace(case.request, body=change(case.request.body)))
    assert isinstance(verdict, Refused)
    assert verdict.reason in {Reason.MISMATCH, Reason.MALFORMED}


OTHER_URLS = {
    "path": URL.replace("acme", "other"),
    "host": URL.replace("hermes.", "evil."),
    "scheme": URL.replace("https", "http"),
    "query": URL + "x",
    "no query": URL.partition("?")[0],
    "case": URL.replace("/v1/", "/V1/"),
}


@pytest.mark.parametrize("make", [signing.twilio_form, signing.twilio_get])
@pytest.mark.parametrize("url", OTHER_URLS.values(), ids=OTHER_URLS.keys())
def test_twilio_signs_the_address(make, url):
    case = make()
    assert case.verdict(replace(case.request, url=url)) == Refused(Reason.MISMATCH)


OTHER_KEYS = {
    **CONFIGURED,
    "auth_token": "another",
    "public_key": signing.spki(ec.generate_private_key(ec.SECP256R1())),
    "app_secret": "another",
    "secret": "whsec_" + base64.b64encode(b"another").decode(),
}


@each(GOOD)
def test_another_key(make):
    assert make().verdict(configured=OTHER_KEYS) == Refused(Reason.MISMATCH)


@each(GOOD)
@pytest.mark.parametrize("value", ["", None, 7, SecretStr("")])
def test_no_key_is_configured(make, value):
    case = make()
    for configured in ({}, dict.fromkeys(CONFIGURED, value)):
        verdict = verify(case.scheme, configured, case.request, NOW)
        assert verdict == Refused(Reason.UNCONFIGURED)


NO_KEYS = [
    "not base64!",
    "AAAA",
    signing.spki(ec.generate_private_key(ec.SECP384R1())),
    signing.spki(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    "-----BEGIN PUBLIC KEY-----",
    "é",
]


@pytest.mark.parametrize("value", NO_KEYS)
def test_sendgrids_key_is_no_key(value):
    verdict = signing.sendgrid().verdict(configured={"public_key": value})
    assert verdict == Refused(Reason.UNCONFIGURED)


@pytest.mark.parametrize(
    "value",
    [
        f"-----BEGIN PUBLIC KEY-----\n{CONFIGURED['public_key']}\n-----END PUBLIC KEY-----\n",
        f" {CONFIGURED['public_key'][:64]}\r\n{CONFIGURED['public_key'][64:]} ",
    ],
)
def test_sendgrids_key_in_a_frame(value):
    assert signing.sendgrid().verdict(configured={"public_key": value}) == Accepted()


@each(TIMED)
@pytest.mark.parametrize(
    ("passed", "verdict"),
    [
        (0, Accepted()),
        (REPLAY_WINDOW, Accepted()),
        (-REPLAY_WINDOW, Accepted()),
        (REPLAY_WINDOW + 1, Refused(Reason.STALE)),
        (-REPLAY_WINDOW - 1, Refused(Reason.STALE)),
        (86_400, Refused(Reason.STALE)),
    ],
)
def test_the_replay_window(make, passed, verdict):
    assert make().verdict(now=NOW + passed) == verdict


@each(TIMED)
def test_the_time_is_signed(make):
    case = make()
    later = with_header(case.request, case.timestamp, str(NOW + 1))
    assert case.verdict(later) == Refused(Reason.MISMATCH)


@each(TIMED)
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.MISSING),
        ("", Reason.MISSING),
        ("now", Reason.MALFORMED),
        pytest.param(f"{NOW}.0", Reason.MALFORMED, id="a fraction"),
        pytest.param(f"-{NOW}", Reason.MALFORMED, id="before 1970"),
        pytest.param(f"{NOW}_0", Reason.MALFORMED, id="digits in groups"),
        ("\u0661" * 10, Reason.MALFORMED),
        ("1" * 5000, Reason.MALFORMED),
        ("inf", Reason.MALFORMED),
    ],
)
def test_a_time_that_is_none(make, value, reason):
    case = make()
    assert case.verdict(with_header(case.request, case.timestamp, value)) == Refused(reason)


NO_SIGNATURES = {
    "twilio-form": {"x": Reason.MISMATCH, "é": Reason.MISMATCH, "=" * 9999: Reason.MISMATCH},
    "sendgrid": {
        "!!!": Reason.MALFORMED,
        "é": Reason.MALFORMED,
        "AAA": Reason.MALFORMED,
        "AAAA": Reason.MISMATCH,
        "A" * 10_000: Reason.MISMATCH,
    },
    "meta": {
        "sha256": Reason.MALFORMED,
        "sha256=": Reason.MALFORMED,
        "sha1=" + "0" * 40: Reason.MALFORMED,
        "sha256=" + "0" * 63: Reason.MALFORMED,
        "sha256=" + "G" * 64: Reason.MALFORMED,
        "sha256=" + "\uff10" * 64: Reason.MALFORMED,
        "sha256=" + "0" * 64: Reason.MISMATCH,
    },
    "standard-webhooks": {
        "v1": Reason.MALFORMED,
        "v1,": Reason.UNSUPPORTED,
        ",,,": Reason.UNSUPPORTED,
        "v2,AAAA": Reason.UNSUPPORTED,
        "v1a,AAAA": Reason.UNSUPPORTED,
        "AAAA": Reason.MALFORMED,
        "v1,AAAA": Reason.MISMATCH,
        "v1,é": Reason.MISMATCH,
        "v1,\udcff": Reason.MISMATCH,
    },
}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [(name, *row) for name, rows in NO_SIGNATURES.items() for row in rows.items()],
)
def test_a_signature_that_is_none(name, value, reason):
    case = GOOD[name]()
    assert case.verdict(with_header(case.request, case.signature, value)) == Refused(reason)


@each(GOOD)
def test_a_signature_that_is_there_twice(make):
    case = make()
    twice = replace(case.request, headers=case.request.headers * 2)
    assert case.verdict(twice) == Refused(Reason.MALFORMED)


@each(GOOD)
@pytest.mark.parametrize("method", ["PUT", "HEAD", "DELETE", "post", ""])
def test_other_methods(make, method):
    case = make()
    assert case.verdict(replace(case.request, method=method)) == Refused(Reason.METHOD)


@pytest.mark.parametrize("make", [signing.sendgrid, signing.standard])
def test_get_where_nothing_is_asked(make):
    case = make()
    assert case.verdict(replace(case.request, method="GET")) == Refused(Reason.METHOD)


@each(GOOD)
@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.text(), min_size=2, max_size=2),
    body=st.binary(max_size=60),
    url=st.text(max_size=60),
)
def test_any_text_is_refused_without_an_exception(make, values, body, url):
    case = make()
    request = with_header(case.request, case.signature, values[0])
    if case.timestamp:
        request = with_header(request, case.timestamp, values[1])
    assert isinstance(case.verdict(request), Refused)
    assert isinstance(case.verdict(replace(request, body=body, url=url)), Refused)


# Twilio


HOST = "hermes.example.com"
PORTS = [
    # called by, signed as
    (f"https://{HOST}/a?b=c", f"https://{HOST}:443/a?b=c"),
    (f"https://{HOST}:443/a?b=c", f"https://{HOST}/a?b=c"),
    (f"https://{HOST}:443/a?b=c", f"https://{HOST}:443/a?b=c"),
    (f"https://{HOST}:8443/a?b=c", f"https://{HOST}/a?b=c"),
    (f"https://{HOST}:8443/a?b=c", f"https://{HOST}:8443/a?b=c"),
    (f"http://{HOST}/a", f"http://{HOST}:80/a"),
    (f"https://{HOST}/a?x=https://{HOST}:443/", f"https://{HOST}:443/a?x=https://{HOST}:443/"),
    (f"https://{HOST}", f"https://{HOST}:443"),
]


@pytest.mark.parametrize(("called", "signed"), PORTS)
def test_twilio_signs_with_the_port_or_without(called, signed):
    case = signing.twilio_form(url=called, signed_url=signed)
    assert case.verdict() == Accepted()
    _judge_like_the_vendor(case)


@pytest.mark.parametrize(
    ("called", "signed"),
    [
        (f"https://{HOST}/a", f"https://{HOST}:80/a"),
        (f"https://{HOST}/a", f"https://{HOST}:8443/a"),
        (f"https://{HOST}:8443/a", f"https://{HOST}:443/a"),
        (f"https://{HOST}/a", f"https://{HOST}/a/"),
    ],
)
def test_twilio_signs_another_port(called, signed):
    case = signing.twilio_form(url=called, signed_url=signed)
    assert case.verdict() == Refused(Reason.MISMATCH)
    _judge_like_the_vendor(case)


def _judge_like_the_vendor(case):
    fields = dict(signing.parse_qsl(case.request.body.decode(), keep_blank_values=True))
    signature = dict(case.request.headers)["X-Twilio-Signature"]
    vendor = RequestValidator(signing.TOKEN).validate(case.request.url, fields, signature)
    assert vendor == (case.verdict() == Accepted())


def test_twilios_documented_example():
    # https://www.twilio.com/docs/usage/security, and the libraries' shared test
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    body = (
        b"CallSid=CA1234567890ABCDE&Digits=1234&From=%2B14158675309&To=%2B18005551212"
        b"&Caller=%2B14158675309"
    )
    case = signing.twilio_form(url=url, body=body)
    signed = with_header(case.request, "X-Twilio-Signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8=")
    assert case.verdict(signed, {"auth_token": "12345"}) == Accepted()


class Multi(dict):
    """What a web framework gives for a form with a name that comes twice."""

    def getall(self, name):
        return self[name]


def test_twilio_a_name_that_comes_twice():
    body = b"b=2&a=z&a=a&a=z&b="
    fields = Multi(a=["z", "a", "z"], b=["2", ""])
    signature = RequestValidator(signing.TOKEN).compute_signature(URL, fields)
    case = signing.twilio_form(body=body)
    assert case.verdict(with_header(case.request, case.signature, signature)) == Accepted()


SETTINGS = "X-Twilio-Webhooks-Signature-Settings"


@pytest.mark.parametrize(
    ("said", "algorithm", "verdict"),
    [
        ("key=k,algorithm=HMAC_SHA256", "HMAC_SHA256", Accepted()),
        ("algorithm=hmac_sha256", "HMAC_SHA256", Accepted()),
        ("key=k, algorithm=HMAC_SHA1", "HMAC_SHA1", Accepted()),
        ("key=k", "HMAC_SHA1", Accepted()),
        ("", "HMAC_SHA1", Accepted()),
        ("key=k,algorithm=HMAC_SHA256", "HMAC_SHA1", Refused(Reason.MISMATCH)),
        ("key=k", "HMAC_SHA256", Refused(Reason.MISMATCH)),
        ("key=k,algorithm=NONE", "HMAC_SHA1", Refused(Reason.UNSUPPORTED)),
        ("algorithm=md5", "HMAC_SHA1", Refused(Reason.UNSUPPORTED)),
    ],
)
def test_twilios_shared_keys(said, algorithm, verdict):
    case = signing.twilio_form(algorithm=algorithm)
    assert case.verdict(with_header(case.request, SETTINGS, said)) == verdict


def test_twilio_a_body_that_nothing_speaks_of():
    # The signature is good for the URL alone, as that of a GET is.
    asked = signing.twilio_get()
    posted = replace(asked.request, method="POST", body=b'{"MessageStatus":"failed"}')
    assert asked.verdict(posted) == Refused(Reason.MISMATCH)
    as_json = with_header(posted, "content-type", "application/json")
    assert asked.verdict(as_json) == Refused(Reason.MISMATCH)


def test_twilio_a_json_body_is_the_one_in_the_address():
    case = signing.twilio_json()
    vendor = RequestValidator(signing.TOKEN)
    signature = dict(case.request.headers)[case.signature]
    assert vendor.validate(case.request.url, JSON_BODY.decode(), signature)
    digest = hashlib.sha256(b"[]").hexdigest()
    # The first one counts, for us as for the vendor's library.
    url = f"{case.request.url}&bodySHA256={digest}"
    both = signing.request(
        {
            "X-Twilio-Signature": vendor.compute_signature(url, {}),
            "content-type": "application/json",
        },
        b"[]",
        url,
    )
    assert case.verdict(both) == Refused(Reason.MISMATCH)


# SendGrid


def test_sendgrids_library_agrees():
    case = signing.sendgrid()
    headers = dict(case.request.headers)
    vendor = vendor_sendgrid.EventWebhook(CONFIGURED["public_key"])
    signed = (headers[case.signature], headers[case.timestamp])
    assert vendor.verify_signature(JSON_BODY.decode(), *signed)
    assert not vendor.verify_signature(JSON_BODY.decode() + " ", *signed)


def test_sendgrids_documented_example():
    # The vector of SendGrid's own libraries, of the year 2020.
    key = (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62"
        "gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
    )
    body = (
        b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
        b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
        b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9'
        b'.0","smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>",'
        b'"timestamp":1600112492}]\r\n'
    )
    signature = (
        "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluL"
        "tEZtM="
    )
    headers = {
        f"{signing.SENDGRID}Signature": signature,
        f"{signing.SENDGRID}Timestamp": "1600112502",
    }
    case = signing.sendgrid()
    request = signing.request(headers, body)
    assert case.verdict(request, {"public_key": key}, now=1_600_112_502) == Accepted()
    assert case.verdict(request, {"public_key": key}) == Refused(Reason.STALE)


# Meta


def question(**changes):
    asked = {
        "hub.mode": "subscribe",
        "hub.verify_token": signing.VERIFY_TOKEN,
        "hub.challenge": "1158201444",
        **changes,
    }
    query = "&".join(f"{key}={quote(value)}" for key, value in asked.items() if value is not None)
    return signing.request({}, b"", f"https://{HOST}/v1/webhooks/acme/whatsapp?{query}", "GET")


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Challenge("1158201444")),
        ({"hub.challenge": "aZ_-09"}, Challenge("aZ_-09")),
        ({"hub.verify_token": "another"}, Refused(Reason.MISMATCH)),
        ({"hub.verify_token": ""}, Refused(Reason.MISMATCH)),
        ({"hub.verify_token": "is-it-yøu?"}, Refused(Reason.MISMATCH)),
        ({"hub.verify_token": None}, Refused(Reason.MISSING)),
        ({"hub.mode": None}, Refused(Reason.MISSING)),
        ({"hub.mode": "unsubscribe"}, Refused(Reason.UNSUPPORTED)),
        ({"hub.challenge": None}, Refused(Reason.MISSING)),
        ({"hub.challenge": ""}, Refused(Reason.MALFORMED)),
        ({"hub.challenge": "<script>"}, Refused(Reason.MALFORMED)),
        ({"hub.challenge": "1\r\n2"}, Refused(Reason.MALFORMED)),
        ({"hub.challenge": "1\n"}, Refused(Reason.MALFORMED)),
        ({"hub.challenge": "1" * 129}, Refused(Reason.MALFORMED)),
    ],
)
def test_meta_asks_whether_this_is_the_address(changes, verdict):
    assert verify(META, CONFIGURED, question(**changes), NOW) == verdict


@pytest.mark.parametrize("token", [None, ""])
def test_meta_without_a_token_configured(token):
    configured = {**CONFIGURED, "verify_token": token}
    asked = question(**{"hub.verify_token": ""})
    assert verify(META, configured, asked, NOW) == Refused(Reason.UNCONFIGURED)


def test_metas_reports_need_no_verify_token():
    assert signing.meta().verdict(configured={"app_secret": signing.APP_SECRET}) == Accepted()


# Standard Webhooks


def test_the_standards_own_example():
    # https://github.com/standard-webhooks/standard-webhooks, the libraries' shared vector
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    case = signing.standard()
    request = signing.request(headers, b'{"test": 2432232314}')
    assert case.verdict(request, now=1_614_265_330) == Accepted()


OWN = dict(signing.standard().request.headers)["webhook-signature"]
WRONG = "v1," + base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    ("signatures", "verdict"),
    [
        (f"{WRONG} {OWN}", Accepted()),
        (f"{OWN} {WRONG}", Accepted()),
        (f"v1a,AAAA {OWN}", Accepted()),
        (f"v1a,AAAA v2,x {WRONG} {OWN}", Accepted()),
        (f"{WRONG} {WRONG}", Refused(Reason.MISMATCH)),
        (f"{WRONG} " * 19 + OWN, Accepted()),
        (f"{WRONG} " * 20 + OWN, Refused(Reason.MISMATCH)),
        (OWN.replace("v1,", "v1a,"), Refused(Reason.UNSUPPORTED)),
        (OWN.removeprefix("v1,"), Refused(Reason.MALFORMED)),
    ],
    ids=[
        "after a wrong one",
        "before a wrong one",
        "after one of another kind",
        "after several",
        "none is right",
        "the twentieth",
        "the twenty-first",
        "named as another kind",
        "without its kind",
    ],
)
def test_several_signatures(signatures, verdict):
    case = signing.standard()
    request = with_header(case.request, case.signature, signatures)
    assert case.verdict(request) == verdict


@pytest.mark.parametrize(
    "secret",
    [
        signing.WHSEC,
        signing.WHSEC.removeprefix("whsec_"),
        f" {signing.WHSEC}\n",
    ],
)
def test_the_secrets_spellings(secret):
    # The vendor's library looks at the clock itself.
    now = int(time.time())
    case = signing.standard(at=now)
    assert case.verdict(configured={"secret": secret}, now=now) == Accepted()
    Webhook(secret.strip()).verify(JSON_BODY, dict(case.request.headers))


@pytest.mark.parametrize("secret", ["whsec_", "whsec_!!!", "é", "whsec_A"])
def test_a_secret_that_is_none(secret):
    verdict = signing.standard().verdict(configured={"secret": secret})
    assert verdict == Refused(Reason.UNCONFIGURED)


def test_the_id_is_signed():
    case = signing.standard()
    other = with_header(case.request, "webhook-id", "evt_2")
    assert case.verdict(other) == Refused(Reason.MISMATCH)


RSA = base64.b64encode(signing_key_of(rsa.generate_private_key(65537, 2048))).decode()
P384 = base64.b64encode(signing_key_of(ec.generate_private_key(ec.SECP384R1()))).decode()
# scheme, what is configured, whose fault is told
KEYS = {
    "all of them good": [(case().scheme, CONFIGURED, []) for case in GOOD.values()],
    "none": [(case().scheme, {}, []) for case in GOOD.values()],
    "sendgrid": [
        (SendGridWebhook("k"), {"k": key}, ["k"]) for key in ("abc", "é", "AAAA", RSA, P384)
    ],
    "standard-webhooks": [
        (StandardWebhook("k"), {"k": key}, faults)
        for key, faults in (
            ("whsec_", ["k"]),
            ("whsec_!", ["k"]),
            ("no base64", ["k"]),
            ("Zm9v", []),
        )
    ],
    "white space": [
        (TwilioWebhook("k"), {"k": "token\n"}, ["k"]),
        (MetaWebhook("k", "v"), {"k": " secret", "v": "token "}, ["k", "v"]),
        (MetaWebhook("k", "v"), {"k": "secret", "v": "token"}, []),
    ],
}


@pytest.mark.parametrize("cases", KEYS.values(), ids=KEYS)
def test_a_key_that_verifies_nothing_is_told(cases):
    for scheme, configured, wrong in cases:
        assert sorted(faults(scheme, configured)) == wrong, (scheme, configured)
