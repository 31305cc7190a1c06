"""How schemathesis writes bodies that are no JSON, and what it can know of them."""

import schemathesis


@schemathesis.serializer("application/zip", "text/csv")
def as_it_is(_context, value):
    """Octets and texts as they are; whatever else is generated, as text."""
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def filter_case(_context, case):
    """A number is a text, too, once it is written as one: no server can tell. That leaves out what
    is meant to be wrong with CSV, which is much of it (`suppress-health-check`)."""
    return case.media_type != "text/csv" or isinstance(case.body, str | bytes)
