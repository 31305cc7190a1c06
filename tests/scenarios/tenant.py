"""A tenant's own endpoint, which events are posted to."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.waiting import until


class Tenant:
    """A tenant's endpoint: remembers every event, and fails as often as it is told to."""

    def __init__(self):
        tenant = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): text for name, text in self.headers.items()}
                failing = tenant.failures > 0
                tenant.failures -= failing
                tenant.posts.append((self.path, headers, body))
                self.send_response(503 if failing else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.posts = []
        self.failures = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def heard(self, text):
        """The events with this text, in the order of the posts."""
        events = [(path, headers, json.loads(body)) for path, headers, body in self.posts]
        return [event for event in events if event[2]["data"]["text"] == text]

    def hears(self, text, within=20.0):
        """The only event with this text, once it is there."""
        [event] = until(lambda: self.heard(text), within)
        return event
