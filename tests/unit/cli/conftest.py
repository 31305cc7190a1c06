import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner


@dataclass
class FakeApi:
    """Answers what it is told to, and remembers what it was asked."""

    url: str = ""
    answers: dict[tuple[str, str], list[tuple[int, Any]]] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)

    def answer(self, method, path, status, body):
        """The next answer to such a request; the last one given is repeated."""
        self.answers.setdefault((method, path), []).append((status, body))


@pytest.fixture
def api(monkeypatch):
    fake = FakeApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            fake.requests.append((self.command, self.path, dict(self.headers), body))
            path = self.path.partition("?")[0]
            queue = fake.answers.get((self.command, path), [(404, {"title": "Not found"})])
            status, answer = queue.pop(0) if len(queue) > 1 else queue[0]
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PATCH = do_DELETE = do_GET

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HERMES_API_URL", fake.url)
    monkeypatch.setenv("HERMES_API_KEY", "hk_test")
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def in_empty_directory(tmp_path, monkeypatch):
    for name in ("HERMES_CONFIG", "HERMES_API_URL", "HERMES_API_KEY", "HERMES_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run():
    from infra.cli.main import hermes

    def run(*arguments):
        return CliRunner().invoke(hermes, arguments)

    return run


@pytest.fixture
def on_terminal(monkeypatch):
    """Call it, and the commands that follow have somebody who can answer."""

    def on_terminal():
        stream = "click.testing._NamedTextIOWrapper.isatty"
        monkeypatch.setattr(stream, lambda self: self.name == "<stdin>", raising=False)

    return on_terminal
