"""Where a guest may call and what it may say: URLs and headers, before anything is looked up."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from adapters.wasm.egress.faults import HttpFault

HTTPS_PORT: Final = 443
MAX_URL: Final = 8_192
MAX_HEAD: Final = 32_768
"""Bytes of a request's head, with its placeholders filled in."""

# Stricter than RFC 3986, so that nobody can read another host out of it than we do: no userinfo,
# no brackets, no backslash, no tab or line end, nothing beyond ASCII.
_URL: Final = re.compile(r"(?i:https)://([A-Za-z0-9.-]+)(?::([0-9]{1,5}))?([/?][!-~]*)?")
_FORBIDDEN_IN_PATH: Final = re.compile(r'["<>\\^`#]')
# To some reader `127.1`, `2130706433`, `0x7f.1` and `0177.0.0.1` are addresses. Every such spelling
# ends in a label that begins with a digit, as no top level domain does.
_NUMBER: Final = re.compile(r"(?:.*\.)?[0-9][^.]*\.?")

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_VALUE: Final = re.compile(r"[\t -~\x80-\xff]*")
_OURS: Final = frozenset(
    {
        # How the message is framed and which connection it takes is the host's affair.
        *("host", "content-length", "transfer-encoding", "connection", "keep-alive", "te"),
        *("trailer", "upgrade", "expect", "accept-encoding", "http2-settings"),
    }
)


class Target(NamedTuple):
    """A URL that may be called. `path` has the query, and may hold placeholders."""

    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The host, and the port when it is not the usual one."""
        return self.host if self.port == HTTPS_PORT else f"{self.host}:{self.port}"


class AllowList:
    """The hosts of a manifest: names, or `*.` and what they end with, each with a port or 443."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self._names: set[tuple[str, int]] = set()
        self._suffixes: list[tuple[str, int]] = []
        for text in hosts:
            host, _, port = text.lower().partition(":")
            number = int(port) if port else HTTPS_PORT
            if host.startswith("*."):
                self._suffixes.append((host[1:], number))
            else:
                self._names.add((host, number))

    def target(self, url: str) -> Target:
        """What to call for a URL. Raises HttpFault `forbidden`."""
        if len(url) > MAX_URL:
            raise HttpFault("forbidden", f"a URL has at most {MAX_URL:,} characters")
        match = _URL.fullmatch(url)
        if match is None:
            raise HttpFault("forbidden", _why_not(url))
        host, port, path = match[1].lower(), int(match[2] or HTTPS_PORT), match[3] or "/"
        if _FORBIDDEN_IN_PATH.search(path):
            raise HttpFault("forbidden", "the URL has characters that have to be percent-encoded")
        if _NUMBER.fullmatch(host):
            raise HttpFault("forbidden", f"{host} is an address: hosts are called by name")
        if (host, port) not in self._names and not any(
            port == number and host.endswith(suffix) and _labels(host.removesuffix(suffix))
            for suffix, number in self._suffixes
        ):
            at = host if port == HTTPS_PORT else f"{host}:{port}"
            raise HttpFault("forbidden", f"{at[:253]} is not among the manifest's hosts")
        return Target(host, port, path if path.startswith("/") else f"/{path}")


def _labels(text: str) -> bool:
    return all(text.split("."))


def _why_not(url: str) -> str:
    # Nothing of the URL is repeated: it may hold what only the provider may know.
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() != "https":
        return "only https:// is called"
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        return "a URL has no user and no password in it: use a header"
    if "[" in authority:
        return "an address is no host: hosts are called by name"
    return "the URL is malformed, or has characters that have to be percent-encoded"


def kept(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers that a guest may set, names in lower case. Raises HttpFault `forbidden`."""
    found = []
    for name, value in headers:
        if _TOKEN.fullmatch(name) is None:
            raise HttpFault("forbidden", "the name of a header is malformed")
        check_value(name, value)
        lower = name.lower()
        if lower not in _OURS and not lower.startswith("proxy-"):
            found.append((lower, value))
    return found


def check_value(name: str, value: str) -> None:
    """Refuse what could end a header and begin another. Raises HttpFault `forbidden`."""
    if _VALUE.fullmatch(value) is None:
        raise HttpFault("forbidden", f"header {name}: its value has characters that none may have")
