"""How Hermes talks to Restate: serialisation inside handlers, the ingress from outside."""
