"""`hermes carriers` against a pool that answers what it is told to."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.cli import doctor
from infra.cli.doctor import Verdict
from infra.local.ports import Ports
from infra.local.stack import ROOT

CARRIERS = "/admin/v1/carriers"


def connection(name, bound=True, error=None, in_flight=4):
    return {
        "name": name,
        "host": "smsc.example:2775" if bound else None,
        "bound": bound,
        "bound_at": time.time() - 3700 if bound else None,
        "binds": 2,
        "in_flight": in_flight if bound else 0,
        "window": 50,
        "last_error": error,
    }


def carrier(name="telia", state="up", connections=(), **facts):
    more = {key: facts.pop(key) for key in ("problem", "configuration") if key in facts}
    health = {
        "rate": None,
        "configured_rate": None,
        "accepted_per_second": 182,
        "queued": 0,
        "throttled": 0,
        "unknown": 0,
        "receipts": 88_210,
        "last_refusal": None,
        "connections": list(connections),
        **facts,
    }
    gone = state in ("removed", "invalid")
    return {"name": name, "state": state, "health": None if gone else health, **more}


UP = carrier(connections=[connection("telia/1"), connection("telia/2")])
DOWN = carrier(
    "sinch",
    "down",
    [connection("sinch/1", False, "bind refused: ESME_RINVPASWD")],
    accepted_per_second=0,
    receipts=0,
)


@pytest.fixture
def pool(api, monkeypatch, in_empty_directory):
    """The fake pool, and an operator's key in the settings."""
    monkeypatch.setenv("HERMES_POOL_URL", api.url)
    monkeypatch.setenv("HERMES_ADMIN__KEY", "hok_the-operators-own-key")
    return api


def test_the_table_has_a_line_a_carrier(pool, run):
    limited = carrier(
        "limited",
        connections=[connection("limited/1"), connection("limited/2", False, "link closed: lost")],
        rate=194.3,
        configured_rate=200,
        queued=1620,
        throttled=34,
        last_refusal="ESME_RTHROTTLED",
    )
    pool.answer("GET", CARRIERS, 200, {"carriers": [UP, limited, DOWN]})
    result = run("carriers")
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.output.splitlines()]
    assert lines == [
        "carrier  state  binds  in flight  per s       limit  queued  throttled  unknown  receipts",
        "telia    up       2/2      8/100    182        none       0          0        0    88,210",
        "limited  up       1/2       4/50    182  194 of 200   1,620         34        0    88,210",
        "sinch    down     0/1                 0        none       0          0        0         0",
        "",
        "✗ limited/2: link closed: lost",
        "· limited: its last refusal was ESME_RTHROTTLED",
        "✗ sinch/1: bind refused: ESME_RINVPASWD",
    ]
    assert pool.requests[0][2]["Authorization"] == "Bearer hok_the-operators-own-key"


def test_a_narrow_terminal_gets_fewer_columns_and_whole_ones(pool, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    pool.answer("GET", CARRIERS, 200, {"carriers": [UP]})
    lines = run("carriers").output.splitlines()
    assert lines == [
        "carrier  state  binds  in flight  per s  limit  queued",
        "telia    up       2/2      8/100    182   none       0",
    ]


def test_verbose_has_a_line_a_connection(pool, run):
    pool.answer("GET", CARRIERS, 200, {"carriers": [UP, DOWN]})
    output = run("carriers", "-v").output
    lines = [line.split() for line in output.splitlines()]
    [bound] = [line for line in lines if line[:1] == ["telia/2"]]
    # The minutes have gone on since the account above was made up.
    assert bound[1:4] + bound[5:] == ["smsc.example:2775", "1", "h", "min", "2", "4/50"]
    assert ["sinch/1", "not", "bound", "2", "0/50"] in lines


def test_what_is_not_running_says_why(pool, run):
    gone = carrier("gone", "removed")
    broken = carrier("broken", "invalid", problem="password: NOPE is not set")
    pool.answer("GET", CARRIERS, 200, {"carriers": [gone, broken]})
    output = run("carriers").output
    assert "removed here: hermes carriers resume gone" in output
    assert "✗ broken: password: NOPE is not set" in output


def test_no_carriers_say_how_to_get_one(pool, run):
    pool.answer("GET", CARRIERS, 200, {"carriers": []})
    assert "hermes carriers add" in run("carriers", "--once").output


def test_json_is_what_the_pool_said(pool, run):
    pool.answer("GET", CARRIERS, 200, {"carriers": [UP]})
    assert json.loads(run("carriers", "--json").output) == {"carriers": [UP]}


SETTINGS = {
    "numbers": (("window=100", "rate=2.5"), {"window": 100, "rate": 2.5}),
    "null": (("rate=null",), {"rate": None}),
    "text": (("system_id=12345", "password=007"), {"system_id": "12345", "password": "007"}),
    "list": (("hosts=a:1,b:2", "prefixes=45"), {"hosts": ["a:1", "b:2"], "prefixes": ["45"]}),
    "json": (('prefixes=["45"]',), {"prefixes": ["45"]}),
    "switch": (("tls=false",), {"tls": False}),
    "table": (
        ("ids.response=hex", "ids.receipt=hex", "source_numeric.ton=1"),
        {"ids": {"response": "hex", "receipt": "hex"}, "source_numeric": {"ton": 1}},
    ),
    "equals_signs": (("password=a=b",), {"password": "a=b"}),
    "of_tls": (("tls.ca_file=/etc/ca.pem",), {"tls": {"ca_file": "/etc/ca.pem"}}),
    "status": (
        ("command_status.0x0408=throttled",),
        {"command_status": {"0x0408": "throttled"}},
    ),
    "unknown": (("windw=7",), {"windw": 7}),
}


@pytest.mark.parametrize(("settings", "patch"), SETTINGS.values(), ids=SETTINGS)
def test_set_sends_what_was_written_in_the_types_of_its_keys(pool, run, settings, patch):
    answer = carrier(configuration=dict.fromkeys(patch))
    pool.answer("PATCH", f"{CARRIERS}/telia", 200, answer)
    result = run("carriers", "set", "telia", *settings)
    assert result.exit_code == 0, result.output
    assert pool.requests[-1][3] == patch


@pytest.mark.parametrize("what", ["suspend", "drain", "resume"])
def test_orders(pool, run, what):
    pool.answer("POST", f"{CARRIERS}/telia/{what}", 200, UP)
    result = run("carriers", what, "telia")
    assert (result.exit_code, pool.requests[-1][:2]) == (0, ("POST", f"{CARRIERS}/telia/{what}"))
    assert result.output.startswith("telia ")


def test_a_carriers_password_is_not_asked_for_in_the_operators_shell(
    pool, run, tmp_path, monkeypatch
):
    monkeypatch.setenv("HERMES_API_KEY", "hk_test")
    monkeypatch.setenv("HERMES_API_URL", pool.url)
    (tmp_path / "hermes.toml").write_text(
        '[[carriers]]\nname = "telia"\nhosts = ["smsc.example:2775"]\nsystem_id = "us"\n'
        'password = "env:HERMES_NOT_SET"\n'
    )
    pool.answer("GET", CARRIERS, 200, {"carriers": []})
    pool.answer("GET", "/v1/messages", 200, {"data": [], "next_cursor": None})
    for command in (("carriers",), ("messages", "list")):
        result = run(*command)
        assert result.exit_code == 0
        assert "HERMES_NOT_SET" not in result.output


def test_an_operators_key_that_is_missing_is_said(pool, run, monkeypatch):
    monkeypatch.setenv("HERMES_ADMIN__KEY", "env:HERMES_NOT_SET")
    result = run("carriers")
    assert result.exit_code == 1
    assert "is needed here: environment variable HERMES_NOT_SET is not set" in result.output
    assert not pool.requests


def test_remove(pool, run):
    pool.answer("DELETE", f"{CARRIERS}/telia", 200, {"name": "telia", "state": "removed"})
    assert run("carriers", "remove", "telia", "--yes").output == "telia is removed.\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"name": "telia", "window": 7}'),
        ("a.toml", 'name = "telia"\nwindow = 7\n'),
        ("b.toml", '[[carriers]]\nname = "telia"\nwindow = 7\n'),
    ],
)
def test_add_reads_json_and_toml(pool, run, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    pool.answer("POST", CARRIERS, 201, UP)
    result = run("carriers", "add", str(tmp_path / name))
    assert result.exit_code == 0, result.output
    assert pool.requests[-1][3] == {"name": "telia", "window": 7}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{", "is no JSON"),
        ("a.toml", "[[", "is no TOML"),
        ("two.toml", '[[carriers]]\nname="a"\n[[carriers]]\nname="b"\n', "add one at a time"),
        ("nowhere.json", None, "cannot be read"),
    ],
)
def test_a_file_that_holds_no_carrier(pool, run, tmp_path, name, text, said):
    if text is not None:
        (tmp_path / name).write_text(text)
    result = run("carriers", "add", str(tmp_path / name))
    assert (result.exit_code, said in result.output) == (1, True), result.output
    assert pool.requests == []


@pytest.mark.parametrize("setting", ["window", "=7", "ids.=hex", ".window=7"])
def test_what_is_no_setting_is_a_wrong_command_line(pool, run, setting):
    assert run("carriers", "set", "telia", setting).exit_code == 2
    assert pool.requests == []


def test_a_refused_change_is_shown_key_by_key_with_what_would_be_right(pool, run):
    problem = {
        "code": "carrier_invalid",
        "detail": "The carrier's settings have one fault; nothing was changed.",
        "errors": [
            {
                "code": "out_of_range",
                "pointer": "/window",
                "detail": "should be greater than or equal to 1",
                "right": "a whole number from 1 to 10000",
            }
        ],
    }
    pool.answer("PATCH", f"{CARRIERS}/telia", 422, problem)
    result = run("carriers", "set", "telia", "window=0")
    assert result.exit_code == 1
    assert "/window: should be greater" in result.output
    assert "(right: a whole number from 1 to 10000)" in result.output


def test_a_pool_that_is_not_running_says_what_to_do(run, in_empty_directory, monkeypatch):
    monkeypatch.setenv("HERMES_ADMIN__KEY", "hok_the-operators-own-key")
    result = run("carriers", "--pool", f"http://127.0.0.1:{Ports.free().pool}")
    assert result.exit_code == 1
    assert "The bind pool at http://127.0.0.1:" in result.output
    assert "hermes up" in result.output


def test_without_a_key_it_says_where_one_comes_from(run, in_empty_directory):
    result = run("carriers")
    assert result.exit_code == 1
    assert "operator.key" in result.output
    assert "hermes up" in result.output


def test_another_key_says_where_the_right_one_is(pool, run):
    pool.answer("GET", CARRIERS, 401, {"code": "invalid_key", "detail": "Unknown."})
    result = run("carriers")
    assert result.exit_code == 1
    assert "HERMES_ADMIN__KEY" in result.output


def test_help_needs_no_key(run, in_empty_directory):
    for command in ("set", "add", "remove"):
        assert run("carriers", command, "--help").exit_code == 0


def test_the_pool_may_be_named_before_and_after_the_command(pool, run, monkeypatch):
    monkeypatch.delenv("HERMES_POOL_URL")
    pool.answer("POST", f"{CARRIERS}/telia/drain", 200, UP)
    assert run("carriers", "--pool", pool.url, "drain", "telia").exit_code == 0
    assert run("carriers", "drain", "telia", "--pool", pool.url).exit_code == 0
    assert len(pool.requests) == 2


# The doctor

EXAMINED = {
    "all_bound": ([UP], Verdict.OK, "telia up (2/2 bound)", ""),
    "none": ([], Verdict.WARN, "none", "hermes carriers add"),
    "down": ([UP, DOWN], Verdict.FAIL, "sinch down (0/1 bound)", "of sinch: hermes carriers -v"),
    "invalid": ([carrier("x", "invalid")], Verdict.FAIL, "x invalid", "hermes carriers -v"),
    "taken_out": (
        [UP, carrier("x", "drained")],
        Verdict.WARN,
        "x drained",
        "hermes carriers resume x",
    ),
    "half": (
        [carrier("x", connections=[connection("x/1"), connection("x/2", False)])],
        Verdict.WARN,
        "x up (1/2 bound)",
        "hermes carriers -v",
    ),
}


@pytest.mark.parametrize(
    ("carriers", "verdict", "found", "advice"), EXAMINED.values(), ids=EXAMINED
)
def test_the_doctor_says_which_carriers_are_bound(api, carriers, verdict, found, advice):
    api.answer("GET", CARRIERS, 200, {"carriers": carriers})
    finding = doctor.check_carriers(api.url, "hok_the-operators-own-key")
    assert finding.verdict is verdict
    assert found in finding.found
    assert advice in finding.advice


def test_the_doctor_says_that_the_pool_does_not_answer():
    pool = f"http://127.0.0.1:{Ports.free().pool}"
    finding = doctor.check_carriers(pool, "hok_x", Path("data/logs"))
    assert finding.verdict is Verdict.FAIL
    assert "data/logs/pool.log" in finding.advice


def test_on_a_terminal_the_table_is_new_every_second_until_ctrl_c(pool):
    pool.answer("GET", CARRIERS, 200, {"carriers": [UP]})
    pool.answer("GET", CARRIERS, 503, {"title": "Starting"})
    pool.answer("GET", CARRIERS, 200, {"carriers": [DOWN]})
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.cli.main", "carriers"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm", "PYTHONPATH": str(ROOT)},
    )
    os.close(theirs)
    seen = b""
    while b"ESME_RINVPASWD" not in seen:
        seen += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    os.close(ours)
    assert seen.index(b"telia") < seen.index(b"Starting") < seen.index(b"sinch")
    assert b"Traceback" not in seen
