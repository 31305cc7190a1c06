"""The demonstration: an SMS without a receipt, then the e-mail that arrives instead."""

from __future__ import annotations

import http.client
import time
from typing import Final
from urllib.parse import quote

from rich.console import Console
from rich.text import Text

from infra.cli.client import ApiClient
from infra.cli.console import seconds
from infra.cli.follow import follow
from infra.local.ports import HOST
from infra.local.stack import SIMULATED_CARRIER, Stack

TENANT = "acme"
SILENT_NUMBER = "+4520109902"
"""The simulated SMSC takes a message to this number and never sends a receipt."""

MAILBOX = "demo@example.com"
PLAN: Final = [
    {"channel": "sms", "provider": SIMULATED_CARRIER, "timeout": 3, "success": "delivered"},
    {"channel": "email", "provider": "smtp", "timeout": 30, "success": "sent"},
]
"""The simulators are named: a carrier that never sends a receipt soon has a bad name, and messages
that name nobody then go to another."""
SUBJECT = "Your table is ready"
_ARRIVAL_LIMIT = 10.0


def demonstrate(stack: Stack, console: Console) -> bool:
    """Send the demonstration message and show what becomes of it.

    True when the message ended as `sent` and the mail sink has the mail. Raises ApiError when
    the API refuses it.
    """
    console.print(Text("A message whose SMS gets no receipt, so that the e-mail goes out"))
    console.print()
    api = ApiClient(stack.api_url, stack.keys[TENANT])
    try:
        accepted = api.send(
            {
                "to": {"sms": SILENT_NUMBER, "email": MAILBOX},
                "content": {
                    "text": "Your table is ready. We hold it for ten minutes.",
                    "subject": SUBJECT,
                },
                "plan": PLAN,
                "ttl": 120,
                "metadata": {"purpose": "demonstration"},
            }
        )
        message = follow(accepted["id"], api.get, console)
    finally:
        api.close()
    console.print()
    if message["status"] != "sent":
        console.print(
            Text(f"✗ The message ended as {message['status']}, not as sent by email.", "bad")
        )
        return False
    if not _mail_arrives(stack, message["id"]):
        console.print(
            Text(f"✗ The mail sink did not get it within {seconds(_ARRIVAL_LIMIT)}.", "bad")
        )
        return False
    console.print(Text(f"✓ The mail sink has it: “{SUBJECT}”, to {MAILBOX}", "good"))
    return True


def _mail_arrives(stack: Stack, message_id: str) -> bool:
    """True as soon as the sink has a mail whose Message-ID names the message."""
    until = time.monotonic() + _ARRIVAL_LIMIT
    while time.monotonic() < until:
        if message_id in _mails(stack):
            return True
        time.sleep(0.1)
    return False


def _mails(stack: Stack) -> str:
    """The mails to the demonstration's mailbox, as the sink's JSON."""
    connection = http.client.HTTPConnection(HOST, stack.ports.mail_control, timeout=5)
    try:
        connection.request("GET", f"/messages?to={quote(MAILBOX)}")
        return connection.getresponse().read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
