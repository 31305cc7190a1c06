"""The first demo tenant's accounts at the provider sandbox, and its adapters for them.

By the same doors that a tenant uses: the sandbox's control port gives the credentials, as a
provider's console would, and the API takes them.
"""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from domain.routing.rules import NO_RULES
from infra.local.demo_keys import ACTOR, DEMO_TENANTS
from infra.local.stack import SIMULATED_CARRIER, Stack, StackError

TENANT: Final = DEMO_TENANTS[0]
_WANTED: Final = {
    "twilio": ("account_sid", "auth_token"),
    "sendgrid": ("api_key", "webhook_public_key"),
    "fcm": ("project_id", "service_account"),
    "whatsapp": ("phone_number_id", "access_token", "app_secret", "verify_token"),
}
"""What each adapter takes of its account."""
_MORE: Final = {
    "twilio": {"from": "+15005550006"},
    "sendgrid": {"from": "Hermes <noreply@hermes.example>"},
}
_PATIENCE: Final = 60
FIRST: Final = (SIMULATED_CARRIER, "email")
"""The routes of the simulated carrier and of the relay, which is the mail sink."""


def prefer_simulators(database: Path | str) -> None:
    """Let the tenant's messages meet the simulators first, however badly those did with the
    numbers that are for trying out failures; the sandbox would deliver to the same numbers.

    A tenant with rules of its own, or of a tier that has none, is left as it is.
    """
    from adapters.store.tenants import change_tenant, get_tenant
    from adapters.store.tiers import TierRequired

    if get_tenant(database, TENANT).tenant.routing != NO_RULES:
        return
    with contextlib.suppress(TierRequired):
        change_tenant(database, TENANT, {"routing": {"order": FIRST}}, actor=ACTOR)


def set_up_demo_adapters(stack: Stack) -> list[str]:
    """Configure and activate what is not active yet; the names of all four.

    SMS and e-mail still go by the carrier and the relay first: the adapters come after them.
    Raises StackError.
    """
    accounts = _ask("GET", f"{stack.providers_url}/accounts")
    for name, keys in _WANTED.items():
        adapter = f"{stack.api_url}/v1/adapters/{name}"
        account = accounts[name][0]
        if "webhook" in account:
            # Each time: the API may have moved to another port.
            webhook = f"{stack.api_url}/v1/webhooks/{TENANT}/{name}"
            _ask("POST", f"{stack.providers_url}/accounts", {"provider": name, "webhook": webhook})
        if _ask("GET", adapter, key=stack.keys[TENANT])["active"] is not None:
            continue
        values = {**{key: account[key] for key in keys}, **_MORE.get(name, {})}
        key = stack.keys[TENANT]
        _ask("PUT", f"{adapter}/configuration", {"configuration": values}, key=key)
        _ask("POST", f"{adapter}/activate", {}, key=key)
    return list(_WANTED)


def _ask(method: str, url: str, body: Any = None, *, key: str | None = None) -> Any:
    request = urllib.request.Request(  # noqa: S310 - ours
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    if key is not None:
        request.add_header("authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as refused:
        text = refused.read()[:500].decode(errors="replace")
        raise StackError(f"{method} {url}: HTTP {refused.code} {text}") from None
    except OSError as error:
        raise StackError(f"{method} {url}: {error}") from None
