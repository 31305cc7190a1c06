"""Requests to servers of which any will do, such as the nodes of one cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from adapters.restate.http import Answer, ConnectionGone, HttpClient

_CONNECTED_WITHIN: Final = 1.0
_PATIENCE: Final = 1.0
"""Seconds after which a server that owes an answer gets no further requests. The one that it has
may have been heard: it waits on."""
_ASIDE: Final = 2.0
"""Seconds for which a server is left alone; then one request finds out whether it is back."""


class Servers:
    """Takes each server in turn, and leaves out those that are down. Made on a running event loop.

    A request that found no connection goes to the next server at once. One that may have been heard
    fails, as it does with HttpClient: whether it may be repeated, the caller knows. A repetition
    meets another server, if there is a better one.
    """

    def __init__(self, base_urls: Sequence[str]) -> None:
        if not base_urls:
            raise ValueError("no server is named")
        within = _CONNECTED_WITHIN if len(base_urls) > 1 else None
        self._servers = [_Server(HttpClient(url, connect_timeout=within)) for url in base_urls]
        self._loop = asyncio.get_running_loop()
        self._first = 0

    async def request(
        self, method: str, path: str, body: bytes | None = None, headers: str = ""
    ) -> Answer:
        """Send one request, with the same arguments and errors as HttpClient's; an OSError that is
        neither ConnectionGone nor TimeoutError says that no server could be reached."""
        if len(self._servers) == 1:
            return await self._servers[0].client.request(method, path, body, headers)
        unreachable: OSError | None = None
        for server in self._in_turn():
            server.await_sign_of_life(self._loop.time())
            slow = self._loop.call_later(_PATIENCE, self._leave_alone, server)
            try:
                answer = await server.client.request(method, path, body, headers)
            except (ConnectionGone, TimeoutError):
                self._leave_alone(server)
                raise
            except OSError as error:
                self._leave_alone(server)
                unreachable = error
            else:
                server.aside_until = 0.0
                return answer
            finally:
                slow.cancel()
        assert unreachable is not None
        raise unreachable

    async def close(self) -> None:
        """Close the idle connections."""
        for server in self._servers:
            await server.client.close()

    def _in_turn(self) -> Iterable[_Server]:
        """All of them, those first that are left alone for the shortest time, if at all."""
        self._first = (self._first + 1) % len(self._servers)
        now = self._loop.time()
        turn = self._servers[self._first :] + self._servers[: self._first]
        return sorted(turn, key=lambda server: max(server.aside_until, now))

    def _leave_alone(self, server: _Server) -> None:
        server.aside_until = self._loop.time() + _ASIDE


class _Server:
    """One of them. `aside_until` is on the loop's clock, 0 for one that is well."""

    def __init__(self, client: HttpClient) -> None:
        self.client = client
        self.aside_until = 0.0

    def await_sign_of_life(self, now: float) -> None:
        """Of a server that was down, one request finds out; the others go elsewhere meanwhile."""
        if self.aside_until:
            self.aside_until = now + _ASIDE
