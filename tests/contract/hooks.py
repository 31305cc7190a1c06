"""How schemathesis writes bodies that are no JSON."""

import schemathesis


@schemathesis.serializer("application/zip", "text/csv")
def as_it_is(_context, value):
    """Octets and texts as they are; whatever else is generated, as text."""
    return value if isinstance(value, bytes) else str(value).encode()
