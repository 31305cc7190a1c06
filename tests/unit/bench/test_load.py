import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.bench.load import Sent, one_time_password, recipient, send


class Api:
    """Answers with these statuses, the last one for ever; a 202 has the request's text as id."""

    def __init__(self, *statuses):
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
                body = json.dumps({"id": f"id of {text}"}).encode()
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

    def start(*statuses):
        apis.append(Api(*statuses))
        return apis[-1]

    yield start
    for each in apis:
        each.close()


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
    assert len(it.requests) == 2
    assert len(set(it.requests)) == 1
    assert it.requests[0][1] is not None


async def test_what_no_repetition_changes_is_not_repeated(api):
    it = api(422)
    sent = await load(it, 1, insist=True)
    assert sent.refused == {"422": 1}
    assert len(it.requests) == 1


async def test_an_order_of_ones_own(api):
    it = api(202)
    await load(it, 1, order=lambda number, text: one_time_password(number, f"{text}!"))
    assert it.requests[0][0].endswith("4711!")


def test_two_loads_are_added_without_changing_either():
    one, two = Sent({"a": 1.0}, {"a": "A"}, {"429": 1}), Sent({"b": 2.0}, {"b": "B"}, {"429": 2})
    both = one + two
    assert both.due == {"a": 1.0, "b": 2.0}
    assert both.texts == {"a": "A", "b": "B"}
    assert both.refused == {"429": 3}
    assert (one.refused, two.refused) == ({"429": 1}, {"429": 2})


def test_recipients_differ_and_none_selects_another_behaviour():
    numbers = [recipient(number) for number in range(99_000)]
    assert len(set(numbers)) == 99_000
    assert not any(number[-4:-2] == "99" for number in numbers)
