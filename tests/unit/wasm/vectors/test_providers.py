"""The adapters that Hermes brings: each plays all of its vectors, and the vectors leave out none of
the codes that the provider documents."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from twilio.rest.api.v2010.account.message import MessageInstance

import adapters.wasm
from adapters.wasm.contract import OptOut
from adapters.wasm.testing import Run, read_vectors, run
from domain.failures import FailureCode
from domain.message import Level

PROVIDERS = Path(adapters.wasm.__file__).parent / "providers"
OPT_OUTS = ("opt_outs", "drops_of_opt_outs")
WANTED_NO_MORE = set(get_args(OptOut))
NAMES = sorted(path.parent.name for path in PROVIDERS.glob("*/manifest.json"))
FILES = [(name, path.stem) for name in NAMES for path in PROVIDERS.glob(f"{name}/vectors/*.json")]

Tables = dict[str, dict[str, dict[str, str]]]


@cache
def played(name: str) -> Run:
    return run(PROVIDERS / name)


def tables(name: str) -> Tables:
    return msgspec.json.decode((PROVIDERS / name / "codes.json").read_bytes(), type=Tables)


def codes(name: str, *keys: str) -> set[str]:
    found = tables(name)
    return {code for key in keys for rows in found[key].values() for code in rows}


def test_there_are_the_four():
    assert NAMES == ["fcm", "sendgrid", "twilio", "whatsapp"]


@pytest.mark.parametrize(("name", "file"), FILES)
def test_plays_its_vectors(name, file):
    results = [result for result in played(name).results if result.vector.origin == file]
    assert results
    wrong = {result.vector.name: result.faults for result in results if not result.ok}
    assert not wrong


@pytest.mark.parametrize("name", NAMES)
def test_every_code_of_every_table_has_a_vector(name):
    vectors = read_vectors(PROVIDERS / name)
    assert codes(name, *tables(name)) == {v.code for v in vectors if v.code is not None}


@pytest.mark.parametrize("name", NAMES)
def test_every_error_has_a_vector_in_each_way_that_it_can_come(name):
    errors = codes(name, *(key for key in tables(name) if key in ("errors", "statuses")))
    ways = {"twilio": {"send", "reports"}, "whatsapp": {"send", "webhooks"}}
    for file in ways.get(name, {"send"}):
        seen = {vector.code for vector in read_vectors(PROVIDERS / name) if vector.origin == file}
        assert errors <= seen


@pytest.mark.parametrize("name", NAMES)
def test_every_meaning_is_hermess(name):
    for key, rows in tables(name).items():
        known = {
            "levels": {level.value for level in Level},
            **dict.fromkeys(OPT_OUTS, WANTED_NO_MORE),
        }
        assert rows.keys() <= known.get(key, set(FailureCode)), key


@pytest.mark.parametrize("name", NAMES)
def test_no_code_means_two_things(name):
    for key, rows in tables(name).items():
        listed = [code for each in rows.values() for code in each]
        assert len(listed) == len(set(listed)), key


@pytest.mark.parametrize("name", NAMES)
def test_every_way_to_call_it_has_a_vector(name):
    calls = {vector.given.call for vector in read_vectors(PROVIDERS / name)}
    assert calls >= {"on-message", "on-delivery-report", "on-health-check"}


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_explains_every_key(name):
    readme = (PROVIDERS / name / "README.md").read_text()
    assert not [key for key in played(name).manifest.configuration if f"`{key}`" not in readme]


# --- what the providers document ----------------------------------------------------------------

MESSAGES_FROM_PEOPLE = {"receiving", "received"}


def test_twilio_knows_every_status_of_the_vendors_library():
    statuses = {text for name, text in vars(MessageInstance.Status).items() if name.isupper()}
    assert len(statuses) > 10
    assert statuses - MESSAGES_FROM_PEOPLE <= codes("twilio", "levels", "ends")


DOCUMENTED = [
    # https://www.twilio.com/docs/messaging/guides/debugging-tools, "common error codes"
    ("twilio", "errors", "30001 30002 30003 30004 30005 30006 30007 30008 30010 30034 30036 30410"),
    ("twilio", "errors", "20003 20404 20429 21211 21408 21610 21611 21612 21614 21635 21703"),
    # https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
    ("sendgrid", "levels", "processed deferred delivered open click group_resubscribe"),
    ("sendgrid", "opt_outs", "spamreport unsubscribe group_unsubscribe"),
    ("sendgrid", "bounce_types", "bounce blocked"),
    ("sendgrid", "statuses", "400 401 403 404 405 413 415 429 500 503"),
    # https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
    ("fcm", "errors", "UNSPECIFIED_ERROR INVALID_ARGUMENT UNREGISTERED SENDER_ID_MISMATCH"),
    ("fcm", "errors", "QUOTA_EXCEEDED UNAVAILABLE INTERNAL THIRD_PARTY_AUTH_ERROR"),
    # https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components
    ("whatsapp", "levels", "sent delivered read"),
    # https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes
    ("whatsapp", "errors", "0 1 2 3 4 10 33 100 190 200 368 80007 130429 130472 130497"),
    ("whatsapp", "errors", "131000 131005 131008 131009 131016 131021 131026 131031 131037 131042"),
    ("whatsapp", "errors", "131045 131047 131048 131049 131050 131051 131052 131053 131056 131057"),
    ("whatsapp", "errors", "132000 132001 132005 132007 132012 132015 132016 132068 132069"),
    ("whatsapp", "errors", "133000 133004 133005 133006 133008 133009 133010 133015 133016 135000"),
]


@pytest.mark.parametrize(("name", "table", "documented"), DOCUMENTED)
def test_what_is_documented_is_in_the_table(name, table, documented):
    assert not set(documented.split()) - codes(name, table)
