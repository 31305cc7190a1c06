"""What 'hermes-adapter' offers to authors, as it runs in a component."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.wasm.contract import Answer
from adapters.wasm.manifest import Limits
from adapters.wasm.runtime import AdapterFailed, Artifacts, Engine, Instance, link
from adapters.wasm.sdk import build as module
from adapters.wasm.sdk.build import build
from tests.unit.wasm.puppet import Heard, message, new_call

# The message's text is JavaScript; an array of its requests' answers is `got`.
ADAPTER = """
import * as sdk from 'hermes-adapter';
globalThis.sdk = sdk;
export const plugin = sdk.adapter({
  onConfigure(config) { if (config.refuse) throw new Error(config.refuse); },
  *onMessage({ content }) {
    globalThis.got = [];
    const run = (0, eval)(`(function* () { return (${content.text}); })`);
    return yield* run();
  },
});
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory, compiled):
    directory = tmp_path_factory.mktemp("adapter")
    (directory / "adapter.js").write_text(ADAPTER)
    engine = Engine()
    program = Artifacts(compiled, engine).load(build(directory))
    yield program, link(engine)
    engine.close()


@pytest.fixture
def sink():
    return Heard()


@pytest.fixture
def play(program, sink):
    compiled, linker = program
    call = new_call(sink, limits=Limits(deadline_ms=1000))
    instance = Instance(linker, compiled, call.limits, call)
    instance.configure(call, '{"account": "AC1", "key": "{{secret:key:1}}"}')
    decoder = msgspec.json.Decoder(Answer[Any])

    def play(script: str, *answers: Any) -> Any:
        answer = instance.ask(call, "on-message", message(script), decoder)
        for given in answers:
            assert answer.send_http is not msgspec.UNSET
            payload = json.dumps(given).encode()
            answer = instance.ask(call, "on-http-response", payload, decoder)
        return answer.done if answer.send_http is msgspec.UNSET else answer.send_http

    play.call, play.instance = call, instance
    return play


SAYS = [
    ("sdk.getConfig('account')", "AC1"),
    ("sdk.getConfig('nothing') ?? 'none'", "none"),
    ("sdk.getConfig('key')", "{{secret:key:1}}"),
    ("sdk.secret('key')", "{{secret:key}}"),
    ("sdk.basicAuth('user', 'key')", "{{basic:user:key}}"),
    ("sdk.token('google')", "{{token:google}}"),
    # RFC 3986's unreserved characters stay, everything else is written out.
    ("sdk.encode('Az09-._~')", "Az09-._~"),
    ("sdk.encode(\"!'()* +&=/é€\")", "%21%27%28%29%2A%20%2B%26%3D%2F%C3%A9%E2%82%AC"),
    ("sdk.encode('\\ud83d\\ude00')", "%F0%9F%98%80"),
    ("sdk.encode('a\\ud83d')", "a%EF%BF%BD"),
    ("sdk.encode(5)", "5"),
    ("sdk.encodeForm({ a: 'x y', b: undefined, c: null, d: 0 })", "a=x%20y&d=0"),
    ("sdk.encodeForm({ a: ['1', '2', null] })", "a=1&a=2"),
    ("sdk.encodeForm([['a', '1'], ['a', '&']])", "a=1&a=%26"),
    ("sdk.encodeForm({})", ""),
    ("sdk.decodeForm('a=1&b=x+y&c=%C3%A9&d&e=f=g&=h&&a=2')",
     {"a": "2", "b": "x y", "c": "é", "d": "", "e": "f=g", "": "h"}),
    ("sdk.decodeForm('')", {}),
    ("sdk.decodeForm('a=%zz&b=%C3')", {"a": "%zz", "b": "%C3"}),
    ("sdk.decodeForm('__proto__=x&a=1')", {"__proto__": "x", "a": "1"}),
    ("sdk.parse('{\"a\": 1}')", {"a": 1}),
    ("sdk.parse('<html>')", {}),
    ("sdk.parse('null')", {}),
    ("sdk.parse('', 'none')", "none"),
    ("sdk.header({ headers: [['x-id', '1'], ['x-id', '2']] }, 'X-Id')", "1"),
    ("sdk.header({ error: {} }, 'X-Id') ?? 'none'", "none"),
    ("sdk.retryAfter({ headers: [['retry-after', '7']] })", 7),
    ("sdk.retryAfter({ headers: [['retry-after', '-1']] }) ?? 'none'", "none"),
    ("sdk.retryAfter({ headers: [['retry-after', '999999']] }) ?? 'none'", "none"),
    ("sdk.retryAfter({ headers: [['retry-after', 'Wed, 21 Oct 2026']] }) ?? 'none'", "none"),
    ("sdk.retryAfter({ headers: [] }) ?? 'none'", "none"),
    ("sdk.accepted('sent', { segments: 2 })", {"ok": True, "level": "sent", "segments": 2}),
    ("sdk.failed('timeout')", {"ok": False, "code": "timeout"}),
    ("sdk.storeGet('nothing') ?? 'none'", "none"),
    ("(sdk.storeSet('a', 5), sdk.storeGet('a'))", "5"),
    # Times that are given can be read; there is none to be had.
    ("new Date('2030-01-01T00:00:00Z').toISOString()", "2030-01-01T00:00:00.000Z"),
    ("new Date(0) instanceof Date", True),
    ("Date.parse('2030-01-01T00:00:00Z')", 1893456000000),
    ("Math.max(1, 2)", 2),
]  # fmt: skip


def test_a_store_that_is_full_says_so(play):
    script = """(() => {
      try { sdk.storeSet('a', 'x'.repeat(100_000)); } catch (problem) { return String(problem); }
    })()"""
    assert "the store has room for 65536 octets" in play(script)


@pytest.mark.parametrize(("script", "says"), SAYS)
def test_what_authors_use(play, script, says):
    assert play(script) == says


KINDS = [
    ("dns", False, "provider_unavailable"),
    ("connect", False, "provider_unavailable"),
    ("tls", False, "configuration"),
    ("forbidden", False, "configuration"),
    ("secret", False, "configuration"),
    ("limit", False, "internal"),
    ("timeout", False, "provider_error"),
    ("timeout", True, "outcome_unknown"),
    ("reset", True, "outcome_unknown"),
    ("malformed", True, "outcome_unknown"),
]


@pytest.mark.parametrize(("kind", "maybe_sent", "code"), KINDS)
def test_what_a_request_without_an_answer_means(play, kind, maybe_sent, code):
    error = {"kind": kind, "message": "why", "maybe_sent": maybe_sent}
    said = play(f"sdk.unanswered({json.dumps(error)})")
    assert said == {"ok": False, "code": code, "provider_code": kind, "detail": "why"}


REQUESTS = [
    ("{ form: { a: 1 } }", "a=1", [["content-type", "application/x-www-form-urlencoded"]]),
    ("{ json: { a: 1 } }", '{"a":1}', [["content-type", "application/json"]]),
    ("{ body: 'text' }", "text", []),
    ("{ headers: { b: 'c' }, json: [] }", "[]", [["b", "c"], ["content-type", "application/json"]]),
    ("{ headers: [['b', 'c'], ['b', 'd']] }", "", [["b", "c"], ["b", "d"]]),
]


@pytest.mark.parametrize(("given", "body", "headers"), REQUESTS)
def test_how_a_request_is_written(play, given, body, headers):
    asked = play(f"yield* sdk.sendHttp({{ method: 'POST', url: 'https://x', ...{given} }})")
    assert (asked.method, asked.url, asked.body) == ("POST", "https://x", body)
    assert [list(each) for each in asked.headers] == headers


def test_requests_one_after_another(play):
    ask = "got.push((yield* sdk.sendHttp({ method: 'GET', url: 'https://x' })).status)"
    assert play(f"({ask}, {ask}, got)", {"status": 200}, {"status": 201}) == [200, 201]


def test_a_call_that_was_left_does_not_go_on(play):
    ask = "yield* sdk.sendHttp({ method: 'GET', url: 'https://x' })"
    play(ask)
    assert play("'new'") == "new"
    with pytest.raises(AdapterFailed):
        play.instance.ask(play.call, "on-http-response", b"{}", msgspec.json.Decoder(Answer[Any]))


MISSING = ["Date.now()", "new Date()", "Date()", "performance.now()", "Math.random()"]


@pytest.mark.parametrize("script", MISSING)
def test_what_there_is_not_says_so(play, script):
    with pytest.raises(AdapterFailed, match=r"an adapter has no (clock|randomness)") as failed:
        play(script)
    assert failed.value.kind == "trap"


def test_a_fault_of_the_authors_is_told_with_its_place(play, sink):
    with pytest.raises(AdapterFailed, match=re.escape("cannot read property 'x' of undefined")):
        play("undefined.x")
    [(_, _, level, line)] = sink.lines
    assert level == "error"
    assert "/adapter.js" in line


def test_a_configuration_is_refused_with_an_errors_message(play):
    with pytest.raises(AdapterFailed, match=r"^configure: no such account$"):
        play.instance.configure(play.call, '{"refuse": "no such account"}')


def test_what_is_not_there_has_a_default(play):
    decoder = msgspec.json.Decoder(Answer[Any])
    report = json.dumps({"method": "POST", "query": {}, "content_type": "", "body": ""}).encode()
    told = play.instance.ask(play.call, "on-delivery-report", report, decoder)
    assert told.done == {"reports": [], "inbound": []}
    assert play.instance.ask(play.call, "on-health-check", None, decoder).done == {"ok": True}


def test_the_types_name_everything_that_there_is():
    sdk = Path(module.__file__).parent
    offered = re.findall(
        r"^export (?:const|function\*?) (\w+)", (sdk / "hermes.js").read_text(), re.MULTILINE
    )
    declared = re.findall(r"export function (\w+)", (sdk / "hermes.d.ts").read_text())
    assert sorted(offered) == sorted(declared)
