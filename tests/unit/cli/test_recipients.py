"""`hermes recipients`."""

import json

import pytest

from domain.sandbox import SCRIPTS

FOUND = {"recipients": {"sms": {"erased": 1234, "under_way": 1, "more": True}}}


def test_a_person_is_forgotten(api, run):
    api.answer("DELETE", "/v1/recipients", 200, FOUND)
    done = run("recipients", "erase", "--to", "sms=+4520123456", "--yes")
    assert done.exit_code == 0, done.output
    [(_, _, _, body)] = api.requests
    assert body == {"to": {"sms": "+4520123456"}}
    assert "1,234 and more" in done.output
    assert "once they have ended" in done.output


def test_nobody_is_forgotten_by_mistake(api, run):
    for more in ((), ("--json",)):
        done = run("recipients", "erase", "--to", "sms=+4520123456", *more)
        assert done.exit_code == 2
        assert "say --yes" in done.output
    assert not api.requests


def test_for_scripts(api, run):
    api.answer("DELETE", "/v1/recipients", 200, FOUND)
    done = run("recipients", "erase", "--to", "sms=+4520123456", "--json", "--yes")
    assert json.loads(done.output) == FOUND["recipients"]


@pytest.mark.parametrize("to", ["+4520123456", "pigeon=coo", "sms="])
def test_what_is_no_address_is_refused(api, run, to):
    done = run("recipients", "erase", "--to", to, "--yes")
    assert done.exit_code == 2
    assert "CHANNEL=ADDRESS" in done.output
    assert not api.requests


def test_the_magic_recipients_are_listed(run):
    done = run("recipients", "magic")
    assert all(script.digits in done.output for script in SCRIPTS)
    listed = json.loads(run("recipients", "magic", "--json").output)
    assert [one["word"] for one in listed] == [script.word for script in SCRIPTS]
