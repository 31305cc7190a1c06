"""How the admin API says no: the API's problem details with codes of its own.

What both APIs can answer, such as `missing_key` or `malformed_json`, is the same in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from adapters.smpp.carriers.faults import CarrierInvalid, Fault
from handlers.api.problems import FieldError, Kind, Problem, pointer

PREFIX: Final = "/admin/v1/"

OPERATOR_PROBLEMS: Final[dict[str, Kind]] = {
    "route_not_found": Kind(404, "Route not found", "There is no route of this name."),
    "route_exists": Kind(
        409,
        "Route exists",
        "There is a route of this name already: change that one, or remove it first.",
    ),
    "route_needed": Kind(
        409,
        "Route needed",
        "`detail` names tenants that send and would have no route left for a channel. Give them "
        "another one first, or add `force=true` to the query.",
    ),
    "too_many_routes": Kind(
        409, "Too many routes", "Remove some first: prefixes and countries can share a route."
    ),
    "tenant_not_found": Kind(404, "Tenant not found", "There is no tenant of this id."),
    "tenant_exists": Kind(
        409, "Tenant exists", "There is a tenant of this id already: change that one."
    ),
    "tier_in_use": Kind(
        409,
        "Tier in use",
        "The tenant has senders, routes, routing rules or adapters that the lower tier does not "
        "cover: `detail` names them. Remove them first.",
    ),
    "key_not_found": Kind(404, "Key not found", "There is no API key of this id."),
    "key_ended": Kind(
        409,
        "Key has ended",
        "The API key is revoked or has expired, and stays so: create another one.",
    ),
    "sender_not_found": Kind(404, "Sender not found", "The tenant has no sender of this name."),
    "price_not_found": Kind(404, "Price not found", "There is no price of this id."),
    "price_exists": Kind(
        409,
        "Price exists",
        "There is another price for the same tenant, route, prefix and currency from the same "
        "moment on: give this one another `valid_from`. Or the price that holds by then says the "
        "same: nothing is to be added.",
    ),
    "price_needed": Kind(
        409,
        "Price needed",
        "`detail` names routes that tenants use and that would be free without this price. Add "
        "another one first, or add `force=true` to the query.",
    ),
    "currency_differs": Kind(
        409,
        "Currency differs",
        "A tenant's own price is in another currency than its account, and would never apply: "
        "`detail` names both. Write it in the account's currency, or add `force=true` to the "
        "query.",
    ),
    "currency_unpriced": Kind(
        409,
        "Currency without prices",
        "There are prices, but none for the tenant or for everybody is in its account's currency: "
        "whatever it sends would be free. Add prices in that currency first, or add `force=true` "
        "to the query.",
    ),
    "no_account": Kind(
        404,
        "No account",
        "The tenant has no account.",
        remedy="`PUT /admin/v1/accounts/{tenant}` opens one.",
    ),
    "currency_fixed": Kind(
        409,
        "Currency fixed",
        "Something was posted to the account or charged already, and it keeps its currency.",
    ),
    "entry_exists": Kind(
        409, "Entry exists", "The reference was used before, for another amount or kind."
    ),
    "carrier_not_found": Kind(404, "Carrier not found", "There is no carrier of this name."),
    "carrier_exists": Kind(
        409,
        "Carrier exists",
        "There is a carrier of this name already: change that one, or remove it first.",
    ),
    "carrier_invalid": Kind(
        422,
        "Carrier invalid",
        "`errors` lists every fault: a JSON Pointer to the key, what is wrong and what would be "
        "right. Nothing was changed.",
    ),
}


class OperatorProblem(Problem):
    """A request to the admin API ends here. `code` is a key of OPERATOR_PROBLEMS."""

    kinds: ClassVar[Mapping[str, Kind]] = OPERATOR_PROBLEMS
    page: ClassVar[str] = PREFIX + "problems/"


class CarrierFault(FieldError, frozen=True, omit_defaults=True):
    """A fault in a carrier's settings; `right` says what would be right."""

    right: str | None = None


# pydantic's error types in the API's words. Whatever is not here is `wrong_type`.
_CODES: Final[dict[str, str]] = {
    "missing": "required",
    "extra_forbidden": "unknown_field",
    "frozen": "invalid_value",
    "value_error": "invalid_value",
    "string_pattern_mismatch": "invalid_value",
    "enum": "unknown_value",
    "literal_error": "unknown_value",
    "greater_than": "out_of_range",
    "greater_than_equal": "out_of_range",
    "less_than_equal": "out_of_range",
    "finite_number": "out_of_range",
    "decimal_max_digits": "out_of_range",
    "decimal_max_places": "out_of_range",
    "decimal_whole_digits": "out_of_range",
    "string_too_short": "too_short",
    "string_too_long": "too_long",
    "too_short": "too_short",
    "too_long": "too_long",
}


def carrier_invalid(error: CarrierInvalid) -> OperatorProblem:
    """The problem of settings with these faults."""
    count = "one fault" if len(error.faults) == 1 else f"{len(error.faults)} faults"
    return OperatorProblem(
        "carrier_invalid",
        f"The carrier's settings have {count}; nothing was changed.",
        errors=[_fault(fault) for fault in error.faults],
    )


def _fault(fault: Fault) -> CarrierFault:
    return CarrierFault(
        code=_CODES.get(fault.kind, "wrong_type"),
        detail=fault.wrong,
        pointer=pointer(fault.path),
        right=fault.right,
    )
