"""The provider of a vector: it checks each request and gives the answer that the vector has.

What the host would refuse to send is refused here, too, by the same rules.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote

import msgspec
from msgspec import UNSET
from pydantic import SecretStr

from adapters.wasm.contract import HttpError, HttpRequest, HttpResponse
from adapters.wasm.egress.faults import HttpFault
from adapters.wasm.egress.placeholders import Vault, tokens_named
from adapters.wasm.egress.rules import AllowList, kept
from adapters.wasm.manifest import Manifest
from adapters.wasm.testing.vectors import ExpectedRequest, Given


class Script:
    """An HttpPort that plays a vector's exchanges in their order.

    `faults` tells what was asked for and not expected. Requests past the end get no answer.
    """

    def __init__(self, given: Given, manifest: Manifest) -> None:
        self._left = list(given.http)
        self._manifest = manifest
        self._hosts = AllowList(manifest.hosts)
        self._vault = Vault(
            given.config,
            {name: SecretStr(f"the {name}") for name in given.secrets},
            seal_key=b"test",
            scope="test",
        )
        self._names = given.secrets
        self.faults: list[str] = []

    @property
    def placeholders(self) -> dict[str, str]:
        """What the adapter is given in the place of each secret."""
        return {name: self._vault.sealed(name) for name in self._names}

    async def send(self, request: HttpRequest) -> HttpResponse | HttpError:
        """The next answer."""
        if not self._left:
            self.faults.append(f"one request too many: {request.method} {request.url}")
            return HttpError("limit", "the vector has no further answer")
        exchange = self._left.pop(0)
        if exchange.expect is not UNSET:
            self.faults += differences(exchange.expect, self._readable(request))
        try:
            self._check(request)
        except HttpFault as fault:
            self.faults.append(f"the host does not send this: {fault.kind}: {fault}")
            return fault.told()
        return exchange.answer.made()

    def _readable(self, request: HttpRequest) -> HttpRequest:
        """The request with every secret as {{secret:NAME}}, as vectors have it."""

        def readable(text: str) -> str:
            for name, sealed in self.placeholders.items():
                text = text.replace(sealed, _placeholder(name))
                text = text.replace(quote(sealed, safe=""), quote(_placeholder(name), safe=""))
            return text

        headers = tuple((name, readable(value)) for name, value in request.headers)
        return HttpRequest(request.method, readable(request.url), headers, readable(request.body))

    def _check(self, request: HttpRequest) -> None:
        """Raise HttpFault for what the host would refuse."""
        target = self._hosts.target(request.url)
        named = tokens_named([request.url, *(value for _, value in request.headers)])
        if unknown := named - self._manifest.tokens.keys():
            raise HttpFault("secret", f"the manifest has no token {min(unknown)}")
        tokens = dict.fromkeys(named, "a token")
        self._vault.in_path(target.path, tokens)
        for name, value in kept(request.headers):
            self._vault.in_header(name, value, tokens)
        for name in self._names:
            plain = _placeholder(name)
            if plain in request.body or quote(plain, safe="") in request.body:
                wrong = f"secret({name!r}) is for headers and URLs; in a body it is"
                raise HttpFault("secret", f"{wrong} getConfig({name!r})")
        size = len(request.body.encode())
        if size > self._manifest.limits.request_bytes:
            raise HttpFault("too_large", f"a body of {size:,} bytes")

    def end(self) -> list[str]:
        """The faults, with the answers that nobody asked for."""
        if self._left:
            return [*self.faults, f"{len(self._left)} of the answers were not asked for"]
        return self.faults


def _placeholder(name: str) -> str:
    return f"{{{{secret:{name}}}}}"


def differences(expected: ExpectedRequest, request: HttpRequest) -> list[str]:
    """What a request has that it should not, each as a line."""
    found = [
        _line(what, wanted, got)
        for what, wanted, got in (
            ("method", expected.method, request.method),
            ("url", expected.url, request.url),
        )
        if wanted != got
    ]
    headers = {name.lower(): value for name, value in request.headers}
    for name, value in expected.headers.items():
        if headers.get(name.lower()) != value:
            found.append(_line(f"header {name}", value, headers.get(name.lower())))
    if expected.body is not UNSET and expected.body != request.body:
        found.append(_line("body", expected.body, request.body))
    if expected.form is not UNSET:
        found += _of_form(expected.form, request.body)
    if expected.json is not UNSET:
        found += _of_json(expected.json, request.body)
    return found


def _of_form(expected: dict[str, str], body: str) -> list[str]:
    pairs = parse_qsl(body, keep_blank_values=True)
    got = dict(pairs)
    if len(got) < len(pairs):
        return [f"form: a field comes twice: {body}"]
    return [
        _line(f"form field {key}", expected.get(key), got.get(key))
        for key in sorted(expected.keys() | got.keys())
        if expected.get(key) != got.get(key)
    ]


def _of_json(expected: Any, body: str) -> list[str]:
    try:
        got = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        return [f"body: no JSON ({error}): {body}"]
    return unlike("body", expected, got)


def unlike(place: str, expected: Any, got: Any) -> list[str]:
    """Where two JSON values differ, each place as a line."""
    if isinstance(expected, dict) and isinstance(got, dict):
        absent = object()
        return [
            line
            for key in [*expected, *(key for key in got if key not in expected)]
            for line in (
                [f"{place}.{key}: {_shown(expected[key])} expected, it is not there"]
                if got.get(key, absent) is absent
                else [f"{place}.{key}: not expected: {_shown(got[key])}"]
                if key not in expected
                else unlike(f"{place}.{key}", expected[key], got[key])
            )
        ]
    if isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        return [
            line
            for number, (wanted, each) in enumerate(zip(expected, got, strict=True))
            for line in unlike(f"{place}[{number}]", wanted, each)
        ]
    return [] if expected == got else [_line(place, expected, got)]


def _line(place: str, expected: Any, got: Any) -> str:
    return f"{place}: {_shown(expected)} expected, not {_shown(got)}"


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode()
