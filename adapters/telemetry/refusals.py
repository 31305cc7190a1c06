"""What the API refused, by the layer that did and the code that the client got."""

from __future__ import annotations

from adapters.telemetry.tenants import TenantCounter


def refusals() -> TenantCounter:
    """The counter of a process, by `layer` and `code`: one more for each refusal, and for each
    message of a batch that is refused. Tenant "" is a caller that nobody knows."""
    return TenantCounter(
        "hermes_refused",
        "Requests, and messages of batches, that the API refused, by layer and code.",
        "layer",
        "code",
    )
