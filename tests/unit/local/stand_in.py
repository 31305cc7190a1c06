"""A component as real as supervision needs it: it answers GET and POST, and can misbehave.

python stand_in.py PORT[,PORT…] [deaf] [worker=FILE] [dies]
"""

import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._answer(200, b"{}")

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(201, b'{"id": "dp_stand_in"}')

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ports, *manners = sys.argv[1:]
print("begun", flush=True)
if "dies" in manners:
    sys.exit("cannot read my settings")
if "deaf" in manners:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
for manner in manners:
    if manner.startswith("worker="):  # as servers have that serve from child processes
        worker = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        Path(manner.removeprefix("worker=")).write_text(str(worker.pid))
for port in ports.split(","):
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    threading.Thread(target=server.serve_forever).start()
