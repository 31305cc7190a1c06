"""A number lookup over HTTP: any service that answers a GET with JSON.

`GET {url}` with `{number}` in the address replaced by the number in E.164 without its +. The answer
is a JSON object; `field` is the path to the operator in it, with dots. 404, null and an empty text
mean that nobody serves the number.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

import aiohttp
import msgspec

from domain.ports import LookupUnavailable

_OPERATOR: Final = re.compile(r"[0-9]{5,6}\Z")
_LARGEST: Final = 64 * 1024
"""Octets of an answer."""
PLACE: Final = "{number}"
_decode: Final = msgspec.json.Decoder().decode


class HttpLookup:
    """Fulfils `domain.ports.NumberLookup`. Made on a running event loop, and closed there.

    `authorization` is sent as the header of that name. `timeout` is in seconds.
    """

    def __init__(
        self, url: str, *, field: str, authorization: str | None = None, timeout: float = 5.0
    ) -> None:
        if PLACE not in url:
            raise ValueError(f"the address has no {PLACE} in it")
        self._url = url
        self._path = field.split(".")
        headers = {} if authorization is None else {"Authorization": authorization}
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def look_up(self, number: str) -> str | None:
        """See `domain.ports.NumberLookup`."""
        url = self._url.replace(PLACE, number.lstrip("+"))
        try:
            async with self._http.get(url, allow_redirects=False) as answer:
                if answer.status == 404:
                    return None
                if answer.status != 200:
                    raise LookupUnavailable(f"it answered {answer.status}")
                found: Any = _decode(await _whole(answer.content))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise LookupUnavailable("its answer is not JSON") from None
        except (aiohttp.ClientError, TimeoutError) as error:
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

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


async def _whole(content: aiohttp.StreamReader) -> bytes:
    """The body, in however many pieces it comes. Raises LookupUnavailable when it is too long."""
    try:
        await content.readexactly(_LARGEST + 1)
    except asyncio.IncompleteReadError as ended:
        return ended.partial
    raise LookupUnavailable("its answer is too long")
