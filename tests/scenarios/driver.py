"""Drives a whole stack from outside: as a client, and as the eyes on its other side."""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import httpx

from infra.local.ports import HOST, Ports
from infra.local.stack import CARRYING, ROOT, Stack, restate_server
from tests.waiting import until

TERMINAL = {"delivered", "sent", "failed", "expired", "canceled"}
_numbers = itertools.count(random.randrange(10))


def number(behaviour="0000"):
    """A Danish mobile number; its last four digits choose what the SMSC simulator does."""
    return f"+452010{behaviour}"


def mailbox(name="someone"):
    """An address that no other test uses; what it begins with chooses what the sink does."""
    return f"{name}-{os.getpid()}-{next(_numbers)}@example.com"


def sms(timeout=30, success="delivered", **more):
    return {"channel": "sms", "timeout": timeout, "success": success, **more}


def email(timeout=30, **more):
    return {"channel": "email", "timeout": timeout, "success": "sent", **more}


class Driver:
    """A stack whose components can be killed and held down, and what it does to the world."""

    def __init__(self, data_dir: Path, *, smsc=(), mail=(), environment=None, components=CARRYING):
        self.ports = Ports.free()
        self._holds = data_dir / "holds"
        self._holds.mkdir(parents=True)
        self.stack = Stack(
            ports=self.ports,
            data_dir=data_dir,
            environment=environment,
            commands=self._commands(list(smsc), list(mail)),
            components=components,
        )
        self.http = httpx.Client(timeout=30)

    def _commands(self, smsc, mail):
        ports, python = self.ports, (sys.executable, "-m")
        restate = [str(restate_server()), "--no-logo", "--config-file", str(ROOT / "restate.toml")]
        at = ("--host", HOST)
        commands = {
            "restate": restate,
            "smsc": [
                *(*python, "infra.simulators.smsc", *at, "--port", str(ports.smsc)),
                *("--control-port", str(ports.smsc_control), *smsc),
            ],
            "mail": [
                *(*python, "infra.simulators.mail_sink", *at, "--port", str(ports.mail)),
                *("--control-port", str(ports.mail_control), *mail),
            ],
            "endpoint": [*python, "infra.processes.endpoint"],
            "pool": [*python, "infra.processes.pool"],
        }
        # As long as the file is there, the component's next start waits.
        wait = 'while test -e "$0"; do sleep 0.02; done; exec "$@"'
        return {
            name: ["sh", "-c", wait, str(self._holds / name), *command]
            for name, command in commands.items()
        }

    def start(self):
        self.stack.start()
        return self

    def close(self):
        self.http.close()
        self.stack.stop()

    # --- faults

    def kill(self, name):
        """kill -9; the stack starts it again at once."""
        self.stack.kill(name)

    @contextmanager
    def down(self, name):
        """Killed with -9, and not started again before the end of the block."""
        hold = self._holds / name
        hold.touch()
        self.kill(name)
        try:
            yield
        finally:
            hold.unlink()
            self.stack.wait_ready(name)

    @contextmanager
    def stopped(self, name):
        """Stopped with SIGSTOP, as a machine that hangs, and continued at the end of the block."""
        self.stack.kill(name, signal.SIGSTOP)
        try:
            yield
        finally:
            self.stack.kill(name, signal.SIGCONT)

    def kill_links(self):
        """Cut the SMPP connections, as a network failure would."""
        assert self._post(f"{self.stack.smsc_url}/links/kill")["killed"] > 0

    def wait_rebound(self, binds_before):
        """Seconds until the SMSC has a new bind."""
        began = time.monotonic()
        until(lambda: (s := self.smsc())["bound"] and s["binds"] > binds_before)
        return time.monotonic() - began

    # --- the client's side

    def order(self, *plan, to_sms=None, to_email=None, text="Hello", tenant="acme", **more):
        """A request body for POST /v1/messages."""
        to = {"sms": to_sms, "email": to_email}
        body = {
            "to": {channel: address for channel, address in to.items() if address},
            "content": {"text": text, **more.pop("content", {})},
            "plan": list(plan),
            **more,
        }
        return {key: value for key, value in body.items() if value}

    def request(self, method, path, tenant="acme", **more):
        headers = {"authorization": f"Bearer {self.stack.keys[tenant]}", **more.pop("headers", {})}
        return self.http.request(method, self.stack.api_url + path, headers=headers, **more)

    def send(self, *plan, tenant="acme", headers=None, **order):
        """Send one message; its id."""
        body = self.order(*plan, **order)
        answer = self.request("POST", "/v1/messages", tenant, json=body, headers=headers or {})
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def send_all(self, orders):
        """Send many in one request; their ids."""
        answer = self.request("POST", "/v1/messages/batch", json={"messages": list(orders)})
        assert answer.status_code == 202, answer.text
        return [result["message"]["id"] for result in answer.json()["results"]]

    def send_at_rate(self, rate, orders):
        """Send each order by itself, `rate` a second, whatever the answers take; the ids."""
        ids, threads = [], []
        began = time.monotonic()
        for index, order in enumerate(orders):
            until(lambda due=began + index / rate: time.monotonic() >= due, pause=0.002)
            thread = threading.Thread(target=lambda o=order: ids.extend(self.send_all([o])))
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()
        return ids

    def message(self, message_id, tenant="acme"):
        answer = self.request("GET", f"/v1/messages/{message_id}", tenant)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ended(self, message_id, within=20.0):
        """The message, once it has ended. A Restate that is just starting is waited for."""

        def probe():
            answer = self.request("GET", f"/v1/messages/{message_id}")
            if answer.status_code == 503:
                return None
            message = answer.json()
            return message if message["status"] in TERMINAL else None

        return until(probe, within)

    def all_ended(self, ids, within=40.0):
        """All of them, once every one has ended."""
        deadline = time.monotonic() + within
        return [self.ended(i, max(deadline - time.monotonic(), 0.1)) for i in ids]

    def until_event(self, message_id, event, **facts):
        """The message, once its timeline has such an entry."""
        return until(lambda: (m := self.message(message_id)) and entries(m, event, **facts) and m)

    def listed(self, tenant="acme", **query):
        return self.request("GET", "/v1/messages", tenant, params=query).json()["data"]

    # --- the other side

    def smsc(self):
        return self._get(f"{self.stack.smsc_url}/stats")

    def received(self):
        """Submissions that the SMSC has read, answered or not."""
        return sum(link["submits"] for link in self.smsc()["links"])

    def submits(self, to=None):
        query = {"limit": 10_000} | ({"destination": to.lstrip("+")} if to else {})
        return self._get(f"{self.stack.smsc_url}/submits", **query)["submits"]

    def mails(self, to=None):
        query = {"limit": 10_000} | ({"to": to} if to else {})
        return self._get(f"{self.stack.mail_url}/messages", **query)["messages"]

    def smtp(self):
        return self._get(f"{self.stack.mail_url}/stats")

    def sql(self, query):
        """Restate's own view of its invocations."""
        answer = self.http.post(
            f"{self.stack.admin_url}/query",
            json={"query": query},
            headers={"accept": "application/json"},
        )
        return answer.raise_for_status().json()["rows"]

    def forget(self):
        """Reset what the simulators have seen."""
        self._post(f"{self.stack.smsc_url}/reset")
        self._post(f"{self.stack.mail_url}/reset")

    def _get(self, url, **query):
        return self.http.get(url, params=query).raise_for_status().json()

    def _post(self, url):
        return self.http.post(url).raise_for_status().json()


# --- reading a timeline


def events(message):
    """The timeline as a story: what happened, in order, but for the layers' verdicts."""
    return [entry["event"] for entry in message["timeline"] if entry["event"] != "verdict"]


def entries(message, event, **facts):
    """The timeline's entries of one kind with these facts."""
    return [
        entry
        for entry in message["timeline"]
        if entry["event"] == event and all(entry.get(k) == v for k, v in facts.items())
    ]


def entry(message, event, **facts):
    """The only such entry."""
    [found] = entries(message, event, **facts)
    return found


def moment(entry):
    return datetime.fromisoformat(entry["at"]).timestamp()


def attempts(message, channel):
    """The numbers of the attempts that a provider may have taken, or reported on: where the answer
    was lost, the receipt is what the timeline has."""
    told = ("submitted", "outcome_unknown", "receipt")
    return {
        entry["attempt"]
        for entry in message["timeline"]
        if entry["event"] in told and entry.get("channel") == channel
    }


def flagged(message):
    """Whether the timeline says that the recipient may have got it twice."""
    return any(entry.get("possible_duplicate") for entry in message["timeline"])


def statuses(messages):
    return Counter(message["status"] for message in messages)


def assert_conserved(messages, submits):
    """Both sides' counts agree: none lost, and nothing sent that no attempt answers for.

    `messages` have all ended; each has a number of its own, or its own text.
    """
    assert sum(statuses(messages)[s] for s in TERMINAL) == len(messages)
    by_text = Counter(submit["text"] for submit in submits)
    for message in messages:
        copies = by_text[message["metadata"]["text"]]
        story = message["timeline"]
        assert copies <= len(attempts(message, "sms")), story
        if entries(message, "submitted", channel="sms"):
            assert copies >= 1, story
        if copies > 1:
            assert message["delivery_policy"] == "at_least_once", story
            assert flagged(message), story
