import asyncio
import contextlib
import json
import resource
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.bench.load import Sent, allow_connections, one_time_password, recipient, send


class Api:
    """Answers with these statuses, the last one for ever; a 202 has the request's text as id, or
    is the JSON that `body` says."""

    def __init__(self, *statuses, body=None):
        self.statuses = list(statuses)
        self.requests = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                order = json.loads(self.rfile.read(int(self.headers["content-length"])))
                text = order["content"]["text"]
                api.requests.append((text, self.headers.get("idempotency-key")))
                status = api.statuses.pop(0) if len(api.statuses) > 1 else api.statuses[0]
                answer = {"id": f"id of {text}"} if body is None else body
                self._say(status, json.dumps(answer).encode())

            def _say(self, status, body):
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def api():
    apis = []

    def start(*statuses, **more):
        apis.append(Api(*statuses, **more))
        return apis[-1]

    yield start
    for each in apis:
        each.close()


@pytest.fixture
async def silent():
    """The URL of a server that takes connections and says nothing."""

    async def listen(reader, writer):
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def load(api, count=3, **more):
    return await send(api.url, "key", rate=1_000, count=count, label="load", **more)


async def test_what_was_accepted_is_known_by_id_and_text(api):
    it = api(202)
    sent = await load(it)
    texts = {f"load {number:06}: your code is 4711" for number in range(3)}
    assert {text for text, _ in it.requests} == texts
    assert {key for _, key in it.requests} == {None}
    assert sent.texts == {f"id of {text}": text for text in texts}
    assert sent.due.keys() == sent.texts.keys()
    assert len(sent.accept_ms) == sent.answered == 3
    dues = list(sent.due.values())
    assert all(at >= due for at, due in zip(sent.accepted_at, dues, strict=True))


async def test_a_refusal_is_counted_by_its_status(api):
    sent = await load(api(429, 503, 202), at_once=1)
    assert sent.refused == {"429": 1, "503": 1}
    assert len(sent.due) == 1
    assert sent.answered == 3


@pytest.mark.parametrize("status", [503, 429, 409])
async def test_who_insists_repeats_the_same_request_until_it_is_decided(api, status):
    it = api(status, 202)
    sent = await load(it, 1, insist=True)
    assert len(sent.due) == 1
    assert sent.refused == {}
    assert sent.repeated == {str(status): 1}
    assert len(it.requests) == 2
    assert len(set(it.requests)) == 1
    assert it.requests[0][1] is not None


async def test_what_no_repetition_changes_is_not_repeated(api):
    it = api(422)
    sent = await load(it, 1, insist=True)
    assert sent.refused == {"422": 1}
    assert len(it.requests) == 1


async def test_what_is_not_insisted_on_is_not_repeated(api):
    it = api(429, 202)
    sent = await load(it, 1)
    assert (sent.refused, sent.repeated, len(it.requests)) == ({"429": 1}, {}, 1)


@pytest.mark.parametrize("body", [{}, {"id": "the same for all"}, "no object"])
async def test_requests_that_are_in_no_book_break_the_load_off(api, body):
    with pytest.raises(RuntimeError, match=r"of 3 requests the end of \d is known"):
        await load(api(202, body=body))


@pytest.mark.parametrize(("status", "unsure"), [(429, False), (422, False), (503, True)])
async def test_what_was_refused_may_have_been_taken_where_the_server_does_not_know(
    api, status, unsure
):
    sent = await load(api(status), 1)
    assert sent.unsure == ({"load 000000: your code is 4711"} if unsure else set())


async def test_a_request_without_an_answer_is_given_up_and_may_have_been_taken(silent):
    sent = await send(silent, "key", rate=1_000, count=1, label="load", patience=0.05)
    assert sent.refused == {"TimeoutError": 1}
    assert len(sent.unsure) == 1


async def test_requests_leave_when_due_however_slow_the_answers(silent):
    sent = await send(
        silent, "key", rate=100, count=20, label="load", patience=0.5, connections=20, at_once=20
    )
    assert len(sent.left_at) == len(sent.lag_ms) == 20
    # All before the first was given up.
    assert max(sent.left_at) - min(sent.left_at) < 0.5


async def test_a_schedule_that_waits_says_so(silent):
    sent = await send(silent, "key", rate=1_000, count=2, label="load", patience=0.2, at_once=1)
    assert sent.lag_ms[1] >= 190


@pytest.fixture
def limits(monkeypatch):
    """The limits of open files, soft and hard."""

    def limited(soft, hard):
        now = [soft, hard]
        monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(now))
        monkeypatch.setattr(resource, "setrlimit", lambda _, both: now.__setitem__(slice(2), both))
        return now

    return limited


@pytest.mark.parametrize(
    ("soft", "hard", "then"),
    [
        (1_024, 20_000, 11_000),
        (20_000, 20_000, 20_000),
        (1_024, resource.RLIM_INFINITY, 11_000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, resource.RLIM_INFINITY),
    ],
)
def test_as_many_files_may_be_open_as_there_are_connections(limits, soft, hard, then):
    now = limits(soft, hard)
    allow_connections(10_000)
    assert now == [then, hard]


def test_a_system_that_allows_fewer_is_told_of_at_once(limits):
    limits(1_024, 4_096)
    with pytest.raises(RuntimeError, match="11000 open files are needed, and 4096 are allowed"):
        allow_connections(10_000)


async def test_an_order_of_ones_own(api):
    it = api(202)
    await load(it, 1, order=lambda number, text: one_time_password(number, f"{text}!"))
    assert it.requests[0][0].endswith("4711!")


def test_two_loads_are_added_without_changing_either():
    one, two = Sent({"a": 1.0}, {"a": "A"}, {"429": 1}), Sent({"b": 2.0}, {"b": "B"}, {"429": 2})
    one.repeated, two.repeated = Counter({"503": 1}), Counter({"503": 1, "429": 1})
    one.unsure, two.unsure = {"C"}, {"D"}
    one.lag_ms, two.lag_ms = [1.0], [2.0]
    both = one + two
    assert both.repeated == {"503": 2, "429": 1}
    assert both.unsure == {"C", "D"}
    assert both.lag_ms == [1.0, 2.0]
    assert both.due == {"a": 1.0, "b": 2.0}
    assert both.texts == {"a": "A", "b": "B"}
    assert both.refused == {"429": 3}
    assert (one.refused, two.refused) == ({"429": 1}, {"429": 2})


def test_recipients_differ_and_none_selects_another_behaviour():
    numbers = [recipient(number) for number in range(99_000)]
    assert len(set(numbers)) == 99_000
    assert not any(number[-4:-2] == "99" for number in numbers)
