"""The operator's door at the API process: tenants and what is set for them.

Each resource is a file beside this one, with a function that gives its operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from handlers.admin.accounts import accounts
from handlers.admin.audit import audit
from handlers.admin.keys import keys
from handlers.admin.operation import Operation
from handlers.admin.prices import prices
from handlers.admin.senders import senders
from handlers.admin.served import OperatorApi
from handlers.admin.tenants import tenants


def stored(where: Path | str) -> list[list[Operation]]:
    """The resources that need nothing but the database. The command line has them without an API
    process, too."""
    # One line a resource.
    return [
        tenants(where),
        keys(where),
        audit(where),
        senders(where),
        prices(where),
        accounts(where),
    ]


class DirectoryApi(OperatorApi):
    """The admin API of an API process, of the operations of all `resources`."""

    def __init__(self, resources: Iterable[Sequence[Operation]], key: str) -> None:
        super().__init__(
            [operation for resource in resources for operation in resource],
            key,
            title="Hermes, for operators: tenants",
            description="Served by each API process. Every change is in the audit log and is used "
            "by every process within a second. Carriers are at the bind pools' admin API.",
        )
