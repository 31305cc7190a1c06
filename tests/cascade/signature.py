"""A receiver's check of a callback, written from the Standard Webhooks 1.0 text and not from our
sender: https://www.standardwebhooks.com"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping

TOLERANCE = 300


def verify(secret: str, headers: Mapping[str, str], body: bytes) -> None:
    """Fails unless one of the signatures is right and the timestamp is recent."""
    assert abs(time.time() - int(headers["webhook-timestamp"])) < TOLERANCE
    scheme, _, key = secret.partition("_")
    assert scheme == "whsec"
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body.decode()}"
    digest = hmac.new(base64.b64decode(key), content.encode(), hashlib.sha256).digest()
    expected = f"v1,{base64.b64encode(digest).decode()}"
    assert expected in headers["webhook-signature"].split(" ")
