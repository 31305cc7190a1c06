"""HTTP for guests: rules, pinned addresses, caps, secrets and tokens."""

from adapters.wasm.egress.egress import Egress
from adapters.wasm.egress.resolution import Resolver

__all__ = ["Egress", "Resolver"]
