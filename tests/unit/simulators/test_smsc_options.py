"""The simulator's options: what they take, as flags and as PATCH /options, and what they refuse."""

import subprocess
import sys

import pytest

from infra.simulators.options import SWITCH
from infra.simulators.smsc import OPTIONS, Options, OptionsError
from infra.simulators.smsc.__main__ import parser
from infra.simulators.smsc.kinds import IdFormat, StatusEvery

GOOD = [
    ("rate", 200, 200.0),
    ("rate", 0.5, 0.5),
    ("throttle_burst_s", 1, 1.0),
    ("throttle_status", "ESME_RMSGQFUL", 0x14),
    ("throttle_status", "0x408", 0x408),
    ("throttle_status", 1032, 1032),
    ("throttle_count", 0, 0),
    ("status_every", {"n": 10, "status": "ESME_RSYSERR"}, StatusEvery(10, 0x08)),
    ("status_every", "3:ESME_RSUBMITFAIL", StatusEvery(3, 0x45)),
    ("status_every", None, None),
    ("bind_status", "ESME_RBINDFAIL", 0x0D),
    ("bind_status", None, None),
    ("response_delay", 0.05, 0.05),
    ("receipt_delay", 0, 0.0),
    ("late_delay", 3, 3.0),
    ("hold_receipts", True, True),
    ("receipt_rate", 1083.5, 1083.5),
    ("receipt_format", "data_sm", "data_sm"),
    ("receipt_style", "mixed", "mixed"),
    ("id_format", {"response": "hex", "receipt": "decimal"}, IdFormat("hex", "decimal")),
    ("id_format", "decimal:padded:24", IdFormat("decimal", "padded", 24)),
    ("id_format", {"receipt": "padded", "width": 18}, IdFormat("hex", "padded", 18)),
    ("intermediate", True, True),
    ("early_receipts", 0.33, 0.33),
    ("duplicate_receipts", 1, 1.0),
    ("shuffle_receipts", 2.5, 2.5),
    ("seed", 7, 7),
    ("receipts_to", "any", "any"),
    ("window", 5, 5),
    ("mute", True, True),
    ("kill_every", 5, 5.0),
    ("accept_binds", False, False),
    ("keep", 10, 10),
]

BAD = [
    ("rate", -1, "a number, 0 or more"),
    ("rate", "200", "a number, 0 or more"),
    ("rate", True, "a number, 0 or more"),
    ("rate", float("nan"), "a number, 0 or more"),
    ("throttle_status", "ESME_ROK", "command_status other than ESME_ROK"),
    ("throttle_status", "THROTTLED", '"ESME_RTHROTTLED"'),
    ("throttle_status", None, '"ESME_RTHROTTLED"'),
    ("throttle_count", 1.5, "a whole number, 0 to"),
    ("status_every", {"n": 0, "status": "ESME_RSYSERR"}, '{"n": 10, "status": "ESME_RSYSERR"}'),
    ("status_every", {"n": 1}, '{"n": 10, "status": "ESME_RSYSERR"}'),
    ("status_every", "10", '"10:ESME_RSYSERR"'),
    ("status_every", 10, '"10:ESME_RSYSERR"'),
    ("bind_status", 0, "null, or a command_status"),
    ("response_delay", 86_401, "a number, 0 to 86400"),
    ("receipt_format", "xml", "one of tlv+text, text, tlv, payload, data_sm"),
    ("receipt_style", ["upper"], "one of standard, upper"),
    ("id_format", "octal:hex", '"hex:decimal"'),
    ("id_format", "padded:hex", '"hex:decimal"'),
    ("id_format", {"responses": "hex"}, '"hex:decimal"'),
    ("id_format", "hex:padded:0", "1 to 60 digits"),
    ("id_format", "hex:padded:1:2", "1 to 60 digits"),
    ("early_receipts", 1.01, "a number, 0 to 1"),
    ("receipts_to", "other", "one of same, any"),
    ("window", 0, "a whole number, 1 to"),
    ("mute", 1, "true or false"),
    ("mute", "yes", "true or false"),
    ("accept_binds", None, "true or false"),
    ("kill_every", "5s", "a number, 0 to 86400"),
    ("system_id", "me", "no such option; there are rate, "),
    ("ratee", 1, "no such option; there are rate, "),
]


@pytest.mark.parametrize(("name", "value", "meant"), GOOD)
def test_reads_what_is_right(name, value, meant):
    assert getattr(Options().changed({name: value}), name) == meant


def test_every_option_is_tried():
    assert {name for name, _, _ in GOOD} == set(OPTIONS)


@pytest.mark.parametrize(("name", "value", "right"), BAD)
def test_says_what_would_be_right(name, value, right):
    with pytest.raises(OptionsError) as caught:
        Options().changed({name: value})
    assert list(caught.value.problems) == [name]
    assert right in caught.value.problems[name]
    assert str(caught.value).startswith(f"{name}: ")


def test_what_is_shown_can_be_set():
    options = Options().changed({name: value for name, value, _ in GOOD})
    assert Options().changed(options.as_json()) == options
    assert options != Options()


@pytest.mark.parametrize(
    ("name", "text", "meant"),
    [
        ("rate", "200", 200.0),
        ("status_every", "10:ESME_RSYSERR", StatusEvery(10, 0x08)),
        ("throttle_status", "0x14", 0x14),
        ("id_format", "hex:padded:16", IdFormat("hex", "padded", 16)),
        ("bind_status", "ESME_RBINDFAIL", 0x0D),
        ("receipt_format", "payload", "payload"),
    ],
)
def test_flags_say_the_same(name, text, meant):
    arguments = parser().parse_args(["--" + name.replace("_", "-"), text])
    assert getattr(arguments, name) == meant


def test_without_flags_the_defaults_hold():
    arguments = parser().parse_args([])
    assert {name: getattr(arguments, name) for name in OPTIONS} == {
        name: getattr(Options(), name) for name in OPTIONS
    }


def test_switches_are_flags_of_their_own():
    arguments = parser().parse_args(["--mute", "--no-accept-binds"])
    assert (arguments.mute, arguments.accept_binds, arguments.intermediate) == (True, False, False)


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--rate", "fast"], "argument --rate: expected a number, 0 or more, not fast"),
        (["--status-every", "ten"], "argument --status-every: expected null, or"),
        (["--account", "hermes"], "expected SYSTEM_ID:PASSWORD, not hermes"),
        (["--tls-key", "key.pem"], "--tls-key and --tls-client-ca go with --tls-cert"),
        (["--tls-cert", "/nowhere.pem"], "TLS: [Errno 2] No such file or directory"),
    ],
)
def test_a_bad_flag_is_refused(flags, complaint):
    ended = subprocess.run(
        [sys.executable, "-m", "infra.simulators.smsc", *flags], capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert complaint in ended.stderr


def test_help_names_every_option():
    shown = subprocess.run(
        [sys.executable, "-m", "infra.simulators.smsc", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    flags = {name: "--" + name.replace("_", "-") for name in OPTIONS}
    assert [name for name, flag in flags.items() if f"\n  {flag}" not in shown] == []
    assert max(map(len, shown.splitlines())) <= 100


async def test_options_are_read_and_changed_at_run_time(start, call):
    _, _, url = await start()
    before = (await call("GET", f"{url}/options"))[1]
    changes = {"rate": 200.0, "status_every": {"n": 10, "status": "ESME_RSYSERR"}}
    status, after = await call("PATCH", f"{url}/options", changes)
    assert (status, after) == (200, {**before, **changes})
    assert (await call("GET", f"{url}/options"))[1] == after


async def test_a_bad_change_is_refused_whole(start, call):
    simulator, _, url = await start()
    status, answer = await call(
        "PATCH", f"{url}/options", {"rate": 5, "early_receipts": 3, "kill_evry": 5}
    )
    assert status == 400
    assert answer["options"].keys() == {"early_receipts", "kill_evry"}
    assert "early_receipts: expected a number, 0 to 1, not 3" in answer["error"]
    assert simulator.options.rate == 0


@pytest.mark.parametrize("body", [[], "rate", 5, None])
async def test_options_are_an_object(start, call, body):
    _, _, url = await start()
    assert await call("PATCH", f"{url}/options", body) == (
        400,
        {"error": "expected a JSON object of options"},
    )


def test_switches_are_the_boolean_options():
    # A switch has a flag of another kind, so it must be known as one.
    for name, option in OPTIONS.items():
        assert isinstance(getattr(Options(), name), bool) == (option.kind is SWITCH), name
