"""What hostile and broken guests come to: each is contained within its limits, and named."""

import time
from typing import Any

import msgspec
import pytest

from adapters.wasm.contract import Answer, SendResult
from adapters.wasm.manifest import Limits
from adapters.wasm.runtime import AdapterFailed, Instance
from tests.unit.wasm.puppet import OK, message, new_call, script

DECODER = msgspec.json.Decoder(Answer[SendResult])
PLENTY = 2_000_000_000
LITTLE = Limits(fuel=200_000_000, deadline_ms=1000)
"""Which of the two ends a loop must not depend on how busy the machine is."""
PATIENT = Limits(deadline_ms=1000)
WIDE = Limits(request_bytes=0, memory_mb=64, fuel=PLENTY, deadline_ms=1000)
PATIENCE = 3.0
"""Seconds; the longest deadline below is a third of it."""

DEEDS = [
    # what it does, its limits, the failure's kind, words of its detail
    ("loop", LITTLE, "fuel", "fuel"),
    ("loop", Limits(fuel=PLENTY, deadline_ms=20), "deadline", "interrupt"),
    ("expression", LITTLE, "fuel", "fuel"),
    ("memory", PATIENT, "memory", "out of memory"),
    ("one allocation", PATIENT, "memory", "out of memory"),
    ("100 MB", PATIENT, "memory", "out of memory"),
    ("wide", WIDE, "malformed", "3,000,002 octets"),
    ("recursion", PATIENT, "trap", "stack"),
    ("nested JSON", PATIENT, "trap", "stack"),
    ("throw", PATIENT, "trap", "a fault of its own"),
    ("clock", PATIENT, "trap", "unreachable"),
    ("file", PATIENT, "trap", "not defined"),
    ("socket", PATIENT, "trap", "not defined"),
]


@pytest.fixture
def puppet(linker, program, sink):
    def make(limits: Limits | None = None, configuration: str = "{}") -> Any:
        limits = limits or LITTLE
        call = new_call(sink, limits=limits)
        instance = Instance(linker, program, limits, call)
        instance.configure(call, configuration)

        def play(**told: Any) -> Any:
            text = script(*told.pop("answers", [OK]), **told)
            return instance.ask(call, "on-message", message(text), DECODER)

        play.call, play.instance = call, instance
        return play

    return make


@pytest.mark.parametrize(("deed", "limits", "kind", "words"), DEEDS)
def test_a_guest_that_goes_too_far_is_stopped_and_named(puppet, deed, limits, kind, words):
    play = puppet(limits)
    began = time.monotonic()
    with pytest.raises(AdapterFailed, match=words) as failed:
        play(do=deed)
    assert failed.value.kind == kind
    assert play.instance.broken
    assert time.monotonic() - began < PATIENCE
    # Nobody else is affected: another instance of the same program does its work.
    assert puppet()().done.ok


@pytest.mark.parametrize(
    ("deed", "kind"),
    # What on-configure throws is its result: "out of memory", in its own words.
    [("loop", "fuel"), ("memory", "configure"), ("recursion", "trap")],
)
def test_a_guest_that_goes_too_far_while_it_is_configured(puppet, deed, kind):
    with pytest.raises(AdapterFailed) as failed:
        puppet(configuration=f'{{"configure": "{deed}"}}')
    assert failed.value.kind == kind


def test_a_fault_that_the_guest_does_not_tell_of_has_the_runtimes_words(puppet):
    with pytest.raises(AdapterFailed, match="unreachable") as failed:
        puppet()(silently="throw")
    assert failed.value.kind == "trap"


def test_a_module_of_the_system_is_not_there(puppet):
    # The promise of one is never kept: nobody runs it.
    assert puppet()(do="system module").done.ok


def test_a_configuration_is_refused_in_the_adapters_own_words(puppet):
    with pytest.raises(AdapterFailed, match="account is missing") as failed:
        puppet(configuration='{"refuse": "account is missing"}')
    assert failed.value.kind == "configure"


def test_an_instance_has_to_fit_into_its_memory(linker, component, engine, tmp_path, sink):
    from adapters.wasm.runtime import Artifacts
    from tests.unit.wasm.components import GREEDY

    path = tmp_path / "greedy.wasm"
    path.write_bytes(GREEDY)
    program = Artifacts(tmp_path / "cache", engine).load(path)
    with pytest.raises(AdapterFailed) as failed:
        Instance(linker, program, Limits(memory_mb=4), new_call(sink))
    assert failed.value.kind == "memory"


def test_fuel_and_time_are_for_each_entry_anew(puppet):
    play = puppet(Limits(fuel=5_000_000))
    for _ in range(50):
        assert play().done.ok


MALFORMED = [
    # what it returns, words of the detail
    ("", "truncated"),
    ("nonsense", "malformed"),
    ("[]", "object"),
    ("{}", "either"),
    ('{"done": {"ok": true, "level": "sent"}, "sendHttp": {"method": "GET", "url": ""}}', "either"),
    ('{"done": null}', "object"),
    ('{"done": {"ok": true}}', "level"),
    ('{"done": {"ok": true, "level": "gone"}}', "Invalid enum value 'gone'"),
    ('{"done": {"ok": true, "level": "read"}}', "read"),
    ('{"done": {"ok": true, "level": "sent", "code": "internal"}}', "code"),
    ('{"done": {"ok": false}}', "code"),
    ('{"done": {"ok": false, "code": "bad_luck"}}', "Invalid enum value 'bad_luck'"),
    ('{"done": {"ok": true, "level": "sent", "extra": 1}}', "unknown field `extra`"),
    ('{"done": {"ok": "yes", "level": "sent"}}', "bool"),
    ('{"done": {"ok": true, "level": "sent", "provider_ids": [1]}}', "str"),
    ('{"done": {"ok": true, "level": "sent", "provider_ids": [""]}}', "length"),
    ('{"done": {"ok": true, "level": "sent", "segments": 0}}', "int"),
    ('{"done": {"ok": false, "code": "internal", "retry_after": -1}}', "float"),
    ('{"done": {"ok": false, "code": "internal", "retry_after": 1e999}}', "range"),
    ('{"sendHttp": {"method": "GET"}}', "url"),
    ('{"sendHttp": {"method": "CONNECT", "url": "https://x"}}', "Invalid enum value 'CONNECT'"),
    ('{"sendHttp": {"method": "GET", "url": "https://x", "headers": {"a": "b"}}}', "array"),
    ('{"sendHttp": {"method": "GET", "url": "https://x", "headers": [["a"]]}}', "length"),
    ('{"sendHttp": {"method": "GET", "url": "https://x", "body": {}}}', "str"),
    ('{"sendHttp": {"method": "GET", "url": "https://x", "timeout_ms": 0}}', "int"),
    ('{"sendHttp": {"method": "GET", "url": "https://x", "follow": true}}', "unknown field"),
    ('{"done": ' * 2_000, "unknown field"),
]


@pytest.mark.parametrize(("text", "words"), MALFORMED)
def test_an_answer_that_is_not_the_contracts_is_refused(puppet, text, words):
    play = puppet()
    with pytest.raises(AdapterFailed, match=words) as failed:
        play(answers=[text])
    assert failed.value.kind == "malformed"
    assert play.instance.broken


def test_a_log_flood_is_cut(puppet, sink):
    assert puppet()(do="log flood").done.ok
    lines = [line for _, _, _, line in sink.lines]
    assert lines[:50] == [f"line {n}" for n in range(50)]
    assert len(lines) == 51
    assert "more than 50 lines" in lines[50]


def test_a_long_line_is_cut(puppet, sink):
    puppet()(do="log of a megabyte")
    assert [len(line) for *_, line in sink.lines] == [1024]


def test_a_line_stays_one_line_of_a_known_level(puppet, sink):
    puppet()(do="log that breaks lines")
    assert sink.lines == [("acme", "puppet", "info", "one two three four")]


def test_a_flood_of_figures_is_cut(puppet, sink):
    puppet()(do="metric flood")
    assert sink.metrics == [("acme", "puppet", "sent", n) for n in range(50)]


def test_only_figures_under_proper_names_are_taken(puppet, sink):
    puppet()(do="metrics")
    assert sink.metrics == [("acme", "puppet", "sent", 1), ("acme", "puppet", "odd", -1.5)]


STORE = [
    # its limits, what is stored, what it does, what it hears, what is to be written
    (
        Limits(),
        {"a": "1"},
        [("get", "a"), ("get", "b"), ("set", "b", "2"), ("get", "b")],
        ["1", None, "kept", "2"],
        {"b": "2"},
    ),
    (Limits(), {"a": "1"}, [("set", "a", ""), ("get", "a")], ["kept", ""], {"a": ""}),
    (
        Limits(store_keys=2),
        {"a": "1"},
        [("set", "b", "2"), ("set", "c", "3"), ("set", "b", "4")],
        ["kept", "the store has room for 2 keys", "kept"],
        {"b": "4"},
    ),
    (
        Limits(store_bytes=10),
        {"a": "123"},
        [("set", "b", "é" * 3), ("set", "a", ""), ("set", "b", "éééé")],
        ["the store has room for 10 octets", "kept", "kept"],
        {"a": "", "b": "éééé"},
    ),
]


@pytest.mark.parametrize(("limits", "values", "does", "hears", "changes"), STORE)
def test_the_store_and_its_limits(linker, program, sink, limits, values, does, hears, changes):
    call = new_call(sink, limits=limits, values=values)
    instance = Instance(linker, program, limits, call)
    answer = '{"done": {"ok": false, "code": "internal", "detail": ' + "$TEXT}}"
    text = script(answer.replace("$TEXT", '"heard"'), host=does)
    instance.ask(call, "on-message", message(text), DECODER)
    told = msgspec.json.Decoder(Answer[list[str | None]])
    text = script('{"done": $HEARD}', host=does)
    call = new_call(sink, limits=limits, values=values)
    assert instance.ask(call, "on-message", message(text), told).done == hears
    assert call.changes == changes
    assert values == {"a": values["a"]}


def test_a_guest_reads_its_configuration(puppet):
    play = puppet()
    decoder = msgspec.json.Decoder(Answer[list[str | None]])
    text = script('{"done": $HEARD}', host=[("config", "account"), ("config", "other")])
    answer = play.instance.ask(play.call, "on-message", message(text), decoder)
    assert answer.done == ["account of acme", None]
