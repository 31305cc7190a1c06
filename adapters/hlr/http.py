"""A number lookup over HTTP: any service that answers a GET with JSON.

`GET {url}` with `{number}` in the address replaced by the number in E.164 without its +. The answer
is a JSON object; `field` is the path to the operator in it, with dots. 404, null and an empty text
mean that nobody serves the number.
"""

from __future__ import annotations

import asyncio
import base64
import re
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from adapters.restate.http import Answer, ConnectionGone, HttpClient, TooLarge
from domain.ports import LookupUnavailable

_OPERATOR: Final = re.compile(r"[0-9]{5,6}\Z")
_PLAIN: Final = re.compile(r"[ -~]*")
_LARGEST: Final = 64 * 1024
"""Octets of an answer."""
PLACE: Final = "{number}"
_decode: Final = msgspec.json.Decoder().decode


class HttpLookup:
    """Fulfils `domain.ports.NumberLookup`. Made on a running event loop, and closed there.

    `authorization` is sent as the header of that name. `timeout` is in seconds. Raises ValueError
    for an address that cannot be asked.
    """

    def __init__(
        self, url: str, *, field: str, authorization: str | None = None, timeout: float = 5.0
    ) -> None:
        parts = urlsplit(url)
        path = parts.path or "/"
        self._target = f"{path}?{parts.query}" if parts.query else path
        if PLACE not in self._target:
            raise ValueError(f"the address has no {PLACE} in its path or query")
        self._path = field.split(".")
        self._timeout = timeout
        if authorization is None and parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = f"Basic {base64.b64encode(login.encode()).decode()}"
        self._headers = "accept: application/json\r\nuser-agent: hermes\r\n"
        if authorization is not None:
            self._headers += f"authorization: {authorization}\r\n"
        if " " in self._target or not _PLAIN.fullmatch(f"{url}{authorization}"):
            raise ValueError("the address or the authorization is not in printable ASCII")
        # Most messages to a new number cost a question: a general client took a fourteenth of all
        # that such a message takes.
        self._http = HttpClient(
            f"{parts.scheme}://{parts.netloc}", timeout=timeout, largest=_LARGEST, open_ended=True
        )

    async def look_up(self, number: str) -> str | None:
        """See `domain.ports.NumberLookup`."""
        try:
            answer = await self._ask(self._target.replace(PLACE, number.lstrip("+")))
            if answer.status == HTTPStatus.NOT_FOUND:
                return None
            if answer.status != HTTPStatus.OK:
                raise LookupUnavailable(f"it answered {answer.status}")
            # One that was cut off is no JSON object.
            found: Any = _decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise LookupUnavailable("its answer is not JSON") from None
        except (OSError, TimeoutError) as error:
            # Not its text, which may quote the address with a key in it.
            raise LookupUnavailable(type(error).__name__) from None
        for key in self._path:
            if not isinstance(found, dict) or key not in found:
                raise LookupUnavailable("its answer has no such field")
            found = found[key]
        if found is None or found == "":
            return None
        operator = str(found).replace("-", "")
        if _OPERATOR.match(operator) is None:
            raise LookupUnavailable("it named no MCC and MNC")
        return operator

    async def _ask(self, target: str) -> Answer:
        async with asyncio.timeout(self._timeout):
            try:
                return await self._http.request("GET", target, headers=self._headers)
            except TooLarge:
                raise
            except ConnectionGone:
                # A server may close a connection that was kept as it is used.
                return await self._http.request("GET", target, headers=self._headers)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()
