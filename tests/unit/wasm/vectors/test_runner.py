"""The runner finds what is wrong: with an adapter, and with the vectors themselves."""

from __future__ import annotations

import copy

import msgspec
import pytest

from adapters.wasm.testing import VectorsError, read_vectors, run

ADAPTER = """
import {
  accepted, adapter, failed, getConfig, log, secret, sendHttp, storeSet,
} from 'hermes-adapter';
const BODY = { sealed: () => getConfig('key'), open: () => secret('key') };
export const plugin = adapter({
  onConfigure({ host }) { if (host !== 'example.com') throw 'no such host'; },
  *onMessage({ to, content }) {
    log('info', `to ${to}`);
    if (content.text === 'trap') null.trap();
    if (content.text === 'odd') return { ok: 'yes' };
    if (content.text === 'silent') return failed('internal');
    if (content.text === 'slow') { for (let i = 0; i < 1e6; i++); return failed('internal'); }
    const [key, value] = content.text.split('=');
    const answer = yield* sendHttp({
      method: 'POST', url: `https://${key === 'url' ? value : getConfig('host')}/send`,
      headers: { 'X-Key': key === 'header' ? BODY[value]?.() ?? value : secret('key') },
      [key === 'json' ? 'json' : 'form']: { to, value: BODY[value]?.() ?? value },
    });
    storeSet('last', to);
    if (answer.error) return failed('provider_error', { provider_code: answer.error.kind });
    return accepted('sent', { provider_ids: [answer.body] });
  },
  onHealthCheck: () => ({ ok: true, detail: String(getConfig('port') + 1) }),
});
"""
MANIFEST = {
    "name": "tiny",
    "version": "1.0.0",
    "contract": "1.0.0",
    "summary": "An adapter for the runner's tests",
    "channels": ["sms"],
    "hosts": ["example.com"],
    "limits": {"deadline_ms": 10},
    "configuration": {
        "host": {"type": "string", "required": True, "description": "The host."},
        "port": {"type": "integer", "default": 443, "description": "The port."},
        "key": {"type": "string", "secret": True, "description": "The key."},
    },
}
MESSAGE = {
    "id": "msg_1",
    "attempt": 1,
    "channel": "sms",
    "to": "+4520123456",
    "from": None,
    "content": {"text": "form=1"},
    "category": "otp",
    "reference": "r",
    "callback_url": "https://hermes.example/",
    "not_after": "2030-01-01T00:00:00Z",
}
REQUEST = {
    "method": "POST",
    "url": "https://example.com/send",
    "headers": {"x-key": "{{secret:key}}"},
    "form": {"to": "+4520123456", "value": "1"},
}
GOOD = {
    "name": "good",
    "given": {
        "config": {"host": "example.com"},
        "secrets": ["key"],
        "input": MESSAGE,
        "http": [{"expect": REQUEST, "answer": {"body": "id1"}}],
    },
    "expect": {
        "done": {"ok": True, "level": "sent", "provider_ids": ["id1"]},
        "store": {"last": "+4520123456"},
    },
}
JSON_REQUEST = {**REQUEST, "json": {"to": "+4520123456", "value": "1"}}
del JSON_REQUEST["form"]


def changed(*changes):
    """The good vector with (path, value) changed; a path is keys with dots between them."""
    vector = copy.deepcopy(GOOD)
    for path, value in changes:
        *way, last = path.split(".")
        place = vector
        for key in way:
            place = place[int(key)] if isinstance(place, list) else place[key]
        place[last] = value
    return vector


CHECK = {"call": "on-health-check", "http": [], "input": None}
CONFIGURE = {**CHECK, "call": "on-configure"}

CASES = {
    "good": (GOOD, []),
    "json": (
        changed(("given.input.content.text", "json=1"), ("given.http.0.expect", JSON_REQUEST)),
        [],
    ),
    "body": (
        changed(
            ("given.http.0.expect", {"method": "POST", "url": REQUEST["url"], "body": "to=1"}),
        ),
        ['body: "to=1" expected, not "to=%2B4520123456&value=1"'],
    ),
    "another method": (
        changed(("given.http.0.expect.method", "PUT")),
        ['method: "PUT" expected, not "POST"'],
    ),
    "another url": (
        changed(("given.http.0.expect.url", "https://example.com/")),
        ['url: "https://example.com/" expected, not "https://example.com/send"'],
    ),
    "another header": (
        changed(("given.http.0.expect.headers", {"x-key": "k"})),
        ['header x-key: "k" expected, not "{{secret:key}}"'],
    ),
    "no such header": (
        changed(("given.http.0.expect.headers", {"x-other": "k"})),
        ['header x-other: "k" expected, not null'],
    ),
    "another form": (
        changed(("given.http.0.expect.form", {"to": "+4520123456", "more": "1"})),
        [
            'form field more: "1" expected, not null',
            'form field value: null expected, not "1"',
        ],
    ),
    "no json": (
        changed(("given.http.0.expect", JSON_REQUEST)),
        ["body: no JSON (JSON is malformed: "],
    ),
    "another json": (
        changed(
            ("given.input.content.text", "json=2"),
            ("given.http.0.expect", {**JSON_REQUEST, "json": {"value": "1", "more": []}}),
        ),
        [
            'body.value: "1" expected, not "2"',
            "body.more: [] expected, it is not there",
            'body.to: not expected: "+4520123456"',
        ],
    ),
    "an answer is left": (
        changed(
            ("given.input.content.text", "silent"),
            ("expect", {"done": {"ok": False, "code": "internal"}}),
        ),
        ["1 of the answers were not asked for"],
    ),
    "a request too many": (
        changed(
            ("given.http", []),
            ("expect", {"done": {"ok": False, "code": "provider_error", "provider_code": "limit"}}),
        ),
        ["one request too many: POST https://example.com/send"],
    ),
    "no answer": (
        changed(
            ("given.http.0.answer", {"error": {"kind": "timeout", "message": "late"}}),
            ("expect.done", {"ok": False, "code": "provider_error", "provider_code": "timeout"}),
        ),
        [],
    ),
    "another result": (
        changed(("expect.done", {"ok": True, "level": "delivered", "segments": 2})),
        [
            'done.level: "delivered" expected, not "sent"',
            "done.segments: 2 expected, it is not there",
            'done.provider_ids: not expected: ["id1"]',
        ],
    ),
    # Its manifest gives it 10 ms; where adapters are built and tested, others are at work.
    "slow": (
        changed(
            ("given.input.content.text", "slow"),
            ("given.http", []),
            ("expect", {"done": {"ok": False, "code": "internal"}}),
        ),
        [],
    ),
    "another store": (
        changed(("expect.store", {})),
        ['store.last: not expected: "+4520123456"'],
    ),
    "a trap": (
        changed(("given.input.content.text", "trap")),
        ["the adapter failed: trap"],
    ),
    "a result that is none": (
        changed(("given.input.content.text", "odd")),
        ["the adapter failed: malformed: on-message returned: Expected `bool`, got `str`"],
    ),
    "a host that is not the manifest's": (
        changed(
            ("given.input.content.text", "url=example.org"),
            ("given.http.0.expect.url", "https://example.org/send"),
            ("given.http.0.expect.form.value", "example.org"),
            ("expect.done", {"ok": False, "code": "provider_error", "provider_code": "forbidden"}),
        ),
        ["the host does not send this: forbidden: example.org is not among the manifest's hosts"],
    ),
    "a placeholder of no secret": (
        changed(
            ("given.input.content.text", "header={{secret:other}}"),
            ("given.http", [{"answer": {}}]),
            ("expect.done", {"ok": False, "code": "provider_error", "provider_code": "secret"}),
        ),
        ["the host does not send this: secret: the configuration has no secret other"],
    ),
    "a placeholder of no token": (
        changed(
            ("given.input.content.text", "header={{token:google}}"),
            ("given.http", [{"answer": {}}]),
            ("expect.done", {"ok": False, "code": "provider_error", "provider_code": "secret"}),
        ),
        ["the host does not send this: secret: the manifest has no token google"],
    ),
    "a secret in a form": (
        changed(
            ("given.input.content.text", "form=sealed"),
            ("given.http.0.expect.form.value", "{{secret:key}}"),
        ),
        [],
    ),
    "a secret in JSON": (
        changed(
            ("given.input.content.text", "json=sealed"),
            (
                "given.http.0.expect",
                {**JSON_REQUEST, "json": {"to": "+4520123456", "value": "{{secret:key}}"}},
            ),
        ),
        [],
    ),
    "a secret in a header, as the configuration has it": (
        changed(
            ("given.input.content.text", "header=sealed"),
            ("given.http.0.expect.headers", {"x-key": "{{secret:key}}"}),
            ("given.http.0.expect.form.value", "{{secret:key}}"),
        ),
        [],
    ),
    "a secret that would not be filled in": (
        changed(
            ("given.input.content.text", "form=open"),
            ("given.http", [{"answer": {}}]),
            ("expect.done", {"ok": False, "code": "provider_error", "provider_code": "secret"}),
        ),
        ["the host does not send this: secret: secret('key') is for headers and URLs; in a body"],
    ),
    "a lie": (
        changed(("given.http.0.answer.status", 400)),
        ["the adapter failed: lying: it says ok, and no request was answered with 2xx"],
    ),
    "a missing value": (
        changed(("given.config", {})),
        ["the configuration: host is missing"],
    ),
    "an unknown secret": (
        changed(("given.secrets", ["other"])),
        ["the configuration: other is unknown"],
    ),
    "a default": (
        changed(
            ("given", {**GOOD["given"], **CHECK}),
            ("expect", {"done": {"ok": True, "detail": "444"}}),
        ),
        [],
    ),
    "configured": (
        changed(("given", {**GOOD["given"], **CONFIGURE}), ("expect", {"refused": None})),
        [],
    ),
    "refused": (
        changed(
            ("given", {**GOOD["given"], **CONFIGURE, "config": {"host": "example.org"}}),
            ("expect", {"refused": "no such host"}),
        ),
        [],
    ),
    "refused with other words": (
        changed(
            ("given", {**GOOD["given"], **CONFIGURE, "config": {"host": "example.org"}}),
            ("expect", {"refused": "no host"}),
        ),
        ["refused with: no such host; expected was: no host"],
    ),
    "refused, and should not be": (
        changed(
            ("given", {**GOOD["given"], **CONFIGURE, "config": {"host": "example.org"}}),
            ("expect", {"refused": None}),
        ),
        ["the configuration was refused: no such host"],
    ),
    "not refused, and should be": (
        changed(("given", {**GOOD["given"], **CONFIGURE}), ("expect", {"refused": "no such host"})),
        ["the configuration was accepted; expected was: no such host"],
    ),
}


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tiny")
    (directory / "adapter.js").write_text(ADAPTER)
    write(directory, "manifest.json", MANIFEST)
    vectors = [{**vector, "name": name} for name, (vector, _) in CASES.items()]
    write(directory, "vectors/cases.json", {"vectors": vectors})
    return run(directory)


def write(directory, name, content):
    path = directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.encode(content))


@pytest.mark.parametrize("name", CASES)
def test_what_is_found(played, name):
    (result,) = [result for result in played.results if result.vector.name == name]
    expected = CASES[name][1]
    assert len(result.faults) == len(expected), result.faults
    for fault, text in zip(result.faults, expected, strict=True):
        assert fault.startswith(text)
    assert result.ok is (not expected)


def test_what_is_shown(played):
    wrong = sum(bool(faults) for _, faults in CASES.values())
    lines = played.lines()
    assert lines[0] == f"cases    {len(CASES)} vectors  {wrong} failed"
    place = lines.index("FAILED cases: another method")
    assert lines[place + 1 : place + 3] == [
        '  method: "PUT" expected, not "POST"',
        "  log info: to +4520123456",
    ]
    assert not played.ok
    assert len(played.failed) == wrong


def test_vectors_for_every_row_of_a_table(tmp_path):
    write(tmp_path, "codes.json", {"errors": {"internal": {"7": "seven"}, "timeout": {"x": "ix"}}})
    expect = {"done": {"ok": False, "code": "${meaning}", "detail": "${words}, ${other}"}}
    answer = [{"answer": {"json": ["${number}", "${code}!"]}}]
    vector = changed(("name", "is ${code}"), ("given.http", answer), ("expect", expect))
    write(
        tmp_path,
        "vectors/a.json",
        {
            "vectors": [
                {**vector, "each": "codes.json#errors"},
                {**vector, "each": "codes.json#errors/timeout"},
            ]
        },
    )
    found = read_vectors(tmp_path)
    assert [(v.name, v.code) for v in found] == [("is 7", "7"), ("is x", "x"), ("is x", "x")]
    assert found[0].expect.done == {"ok": False, "code": "internal", "detail": "seven, ${other}"}
    assert found[0].given.http[0].answer.json == [7, "7!"]
    assert found[1].given.http[0].answer.json == ["x", "x!"]


def test_what_vectors_share(tmp_path):
    given = GOOD["given"]
    vector = {**GOOD, "given": {"input": {"content": {"text": "other"}}, "http": []}}
    write(tmp_path, "vectors/a.json", {"given": given, "vectors": [vector]})
    (found,) = read_vectors(tmp_path)
    assert found.given.input == {**MESSAGE, "content": {"text": "other"}}
    assert found.given.http == ()
    assert found.given.secrets == ("key",)


UNREADABLE = {
    "no expectation": (changed(("expect", {})), "a.json: good: `expect` needs `done`"),
    "no refusal": (
        changed(("given.call", "on-configure")),
        "a.json: good: `expect` needs `refused`",
    ),
    "no input": (
        {**GOOD, "given": {}},
        "a.json: good: `given` needs `input`",
    ),
    "an unknown key": (changed(("given.https", [])), "Object contains unknown field `https`"),
    "an unknown call": (changed(("given.call", "on-send")), "Invalid enum value 'on-send'"),
    "an input that no adapter gets": (
        changed(("given.input.attempt", "one")),
        "given.input: Expected `int`, got `str` - at `$.attempt`",
    ),
    "a result that no adapter may give": (
        changed(("expect.done", {"ok": True})),
        "expect.done: `ok` needs a `level`",
    ),
    "no table": ({**GOOD, "each": "codes.json#errors"}, "each: codes.json#errors is no table"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_vectors_that_cannot_be_read(tmp_path, name):
    vector, words = UNREADABLE[name]
    write(tmp_path, "vectors/a.json", {"vectors": [vector]})
    with pytest.raises(VectorsError) as refused:
        read_vectors(tmp_path)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "holds no vectors"),
        ({"a.json": "{"}, "a.json: "),
        ({"a.json": '{"vectors": []}'}, "a.json: Expected `array` of length >= 1"),
    ],
)
def test_no_vectors(tmp_path, files, words):
    (tmp_path / "vectors").mkdir()
    for name, text in files.items():
        (tmp_path / "vectors" / name).write_text(text)
    with pytest.raises(VectorsError, match=words):
        read_vectors(tmp_path)
