"""Placeholders: a guest names secrets, the host fills them in, and takes them out of the answer.

| written | where | becomes |
|---|---|---|
| `{{secret:NAME}}` | header, URL | the secret; percent-encoded in a URL |
| `{{basic:USER:PASSWORD}}` | header | `Basic …` of two values of the configuration |
| `{{token:NAME}}` | header, URL | an access token of the manifest |
| what `Vault.sealed` makes | header, URL, body | the secret, as the body's kind writes text |

A body also carries what users wrote. Were `{{secret:NAME}}` filled in there, whoever may choose a
message's text could have our keys sent to a telephone: so in a body it stays as it is, and only the
sealed form counts, which is given to the guest in the place of the secret and which nobody can
guess.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

from adapters.wasm.egress.faults import HttpFault
from adapters.wasm.egress.rules import check_value

MASK: Final = "[secret]"
SHORTEST_MASKED: Final = 6
"""Characters. Shorter ones would be found in what has nothing to do with them."""

_ANY: Final = re.compile(r"\{\{(secret|basic|token):([A-Za-z0-9_:.-]{1,200})\}\}")
_SEALED: Final = re.compile(r"\{\{secret:([a-z][a-z0-9_]{0,63}):([0-9a-f]{32})\}\}")
# The same after encodeURIComponent, through which authors put every value of a form or a query.
_ENCODED: Final = re.compile(r"%7B%7Bsecret%3A([a-z][a-z0-9_]{0,63})%3A([0-9a-f]{32})%7D%7D")


class Vault:
    """One tenant's secrets for one adapter. `seal_key` is the process's own."""

    def __init__(
        self,
        values: Mapping[str, Any],
        secrets: Mapping[str, SecretStr],
        *,
        seal_key: bytes,
        scope: str,
    ) -> None:
        self._values = {key: value for key, value in values.items() if isinstance(value, str)}
        self._secrets = {key: secret.get_secret_value() for key, secret in secrets.items()}
        self._seals = {
            key: hmac.digest(seal_key, f"{scope}\0{key}".encode(), hashlib.sha256)[:16].hex()
            for key in self._secrets
        }
        # Longest first: one may be a part of another.
        found = {spelling for secret in self._secrets.values() for spelling in _spellings(secret)}
        self._masked = sorted(found, key=len, reverse=True)

    def sealed(self, name: str) -> str:
        """What to give the guest in the place of a secret. Raises KeyError."""
        return f"{{{{secret:{name}:{self._seals[name]}}}}}"

    def text(self, name: str) -> str:
        """A value or a secret of the configuration. Raises HttpFault `secret`."""
        found = self._secrets.get(name) or self._values.get(name)
        if not found:
            raise HttpFault("secret", f"{name} is not configured")
        return found

    def in_header(self, name: str, value: str, tokens: Mapping[str, str]) -> str:
        """A header's value, filled in. Raises HttpFault."""
        if "{{" not in value:
            return value

        def fill(match: re.Match[str]) -> str:
            if match[1] == "basic":
                return self._basic(match[2])
            return self._named(match, tokens)

        filled = _ANY.sub(fill, value)
        if filled != value:
            check_value(name, filled)
        return filled

    def in_path(self, path: str, tokens: Mapping[str, str]) -> str:
        """A URL's path and query, filled in. Raises HttpFault."""

        def fill(match: re.Match[str]) -> str:
            if match[1] == "basic":
                raise HttpFault("secret", "{{basic:…}} belongs into a header")
            return quote(self._named(match, tokens), safe="")

        if "{{" in path:
            path = _ANY.sub(fill, path)
        return self._unsealed(_ENCODED, path, partial(quote, safe=""))

    def in_body(self, body: str, content_type: str) -> str:
        """A body, with what is sealed filled in."""
        if "secret" not in body:
            return body
        if "x-www-form-urlencoded" in content_type:
            body = self._unsealed(_ENCODED, body, quote_plus)
            return self._unsealed(_SEALED, body, quote_plus)
        return self._unsealed(_SEALED, body, _as_json if "json" in content_type else str)

    def clean(self, text: str, more: Iterable[str] = ()) -> bool:
        """Whether `mask` would leave it as it is."""
        for secret in self._masked:
            if secret in text:
                return False
        return not any(token in text for token in more)

    def mask(self, text: str, more: Iterable[str] = ()) -> str:
        """A text of the provider's without our secrets in it. `more` are this request's tokens."""
        for secret in (*more, *self._masked):
            if secret in text:
                text = text.replace(secret, MASK)
        return text

    @property
    def effort(self) -> int:
        """How many texts `mask` looks for."""
        return len(self._masked)

    def _unsealed(self, pattern: re.Pattern[str], text: str, write: Callable[[str], str]) -> str:
        def fill(match: re.Match[str]) -> str:
            # What is not ours is somebody's text.
            good = hmac.compare_digest(self._seals.get(match[1], ""), match[2])
            return write(self._secrets[match[1]]) if good else match[0]

        return pattern.sub(fill, text)

    def _named(self, match: re.Match[str], tokens: Mapping[str, str]) -> str:
        kind, name = match[1], match[2]
        if kind == "token":
            return tokens[name]
        if sealed := _SEALED.fullmatch(match[0]):
            name = sealed[1]
            if not hmac.compare_digest(self._seals.get(name, ""), sealed[2]):
                raise HttpFault("secret", f"{name}: its placeholder is not of this configuration")
        if not self._secrets.get(name):
            raise HttpFault("secret", f"the configuration has no secret {name}")
        return self._secrets[name]

    def _basic(self, names: str) -> str:
        user, separator, password = names.partition(":")
        if not separator:
            raise HttpFault("secret", "{{basic:…}} names two values of the configuration")
        pair = f"{self.text(user)}:{self.text(password)}"
        encoded = base64.b64encode(pair.encode()).decode()
        if len(encoded) >= SHORTEST_MASKED and encoded not in self._masked:
            self._masked.insert(0, encoded)
        return f"Basic {encoded}"


def tokens_named(texts: Iterable[str]) -> set[str]:
    """The tokens that a request's headers and URL ask for."""
    return {
        match[2]
        for text in texts
        if "{{token:" in text
        for match in _ANY.finditer(text)
        if match[1] == "token"
    }


def _as_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _spellings(secret: str) -> set[str]:
    """How an answer may repeat a secret."""
    if len(secret) < SHORTEST_MASKED:
        return set()
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret, safe=""),
        quote_plus(secret),
        base64.b64encode(secret.encode()).decode(),
    }
