"""The cascade whose lines are compared does what it says, replayed at every await."""

from contextlib import asynccontextmanager

import httpx
import pytest
import restate

from tests.comparison.restate.cascade import DELIVERED, FAILED, SENT, Order, create_cascade
from tests.restate_server import running_restate, served


class Channels:
    """Answers by the recipient's number, and keeps what it was given."""

    def __init__(self):
        self.ingress = ""
        self.given = []

    async def submit_sms(self, attempt):
        self.given.append(("sms", attempt.order.message))
        match attempt.order.sms:
            case "quick":
                return DELIVERED
            case "refused":
                return FAILED
            case "busy" if self.given.count(("sms", attempt.order.message)) < 3:
                raise ConnectionError("busy")
            case "silent":
                return SENT
            case "undelivered":
                await self._receipt(attempt, FAILED)
            case _:
                await self._receipt(attempt, DELIVERED)
        return SENT

    async def send_mail(self, attempt):
        self.given.append(("email", attempt.order.message))
        return FAILED if attempt.order.email == "nobody" else SENT

    async def _receipt(self, attempt, report):
        async with httpx.AsyncClient(verify=False) as http:
            path = f"/restate/awakeables/{attempt.receipt_ref}/resolve"
            (await http.post(self.ingress + path, json=report)).raise_for_status()


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    channels = Channels()

    @asynccontextmanager
    async def application():
        yield restate.app(create_cascade(channels))

    directory = tmp_path_factory.mktemp("restate-comparison")
    with (
        served(application) as endpoint,
        running_restate(directory, inactivity_timeout="0s") as server,
    ):
        channels.ingress = server.ingress
        server.register(endpoint)
        yield server, channels


@pytest.mark.parametrize(
    ("sms", "email", "ending", "channels"),
    [
        ("receipt", "person", DELIVERED, ["sms"]),
        ("quick", "person", DELIVERED, ["sms"]),
        ("busy", "person", DELIVERED, ["sms", "sms", "sms"]),
        ("silent", "person", SENT, ["sms", "email"]),
        ("undelivered", "person", SENT, ["sms", "email"]),
        ("refused", "person", SENT, ["sms", "email"]),
        ("refused", "nobody", FAILED, ["sms", "email"]),
    ],
)
def test_a_message_ends_by_the_first_channel_that_reaches_its_recipient(
    stage, sms, email, ending, channels
):
    server, given = stage
    message = f"{sms}-{email}"
    order = Order(message, sms, email, "Your code", "4711", sms_timeout=2, email_timeout=5)
    answer = httpx.post(
        f"{server.ingress}/restate/call/Cascade/{message}/run",
        json=vars(order),
        timeout=30,
        verify=False,
    )
    assert answer.json() == ending
    assert [channel for channel, which in given.given if which == message] == channels
