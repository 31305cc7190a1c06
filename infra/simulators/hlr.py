"""A register that knows which network serves a number, for every number the same one each time.

`GET /operators/{number}`, beside the simulated providers' control port. The last four digits choose
what happens (BEHAVIOURS); otherwise they choose one of the country's networks.
"""

import asyncio
from typing import Final

from aiohttp import web

from domain.numbering.number import facts

# MCC and MNC as ITU-T E.212 assigns them; three of a country are enough to route by.
NETWORKS: Final[dict[str, tuple[str, ...]]] = {
    "DE": ("26201", "26202", "26203"),  # Telekom, Vodafone, Telefonica
    "DK": ("23801", "23802", "23820"),  # TDC, Telenor, Telia
    "ES": ("21401", "21403", "21407"),
    "FI": ("24405", "24412", "24491"),
    "FR": ("20801", "20810", "20815"),
    "GB": ("23410", "23415", "23430"),
    "IT": ("22201", "22210", "22288"),
    "NL": ("20404", "20408", "20416"),
    "NO": ("24201", "24202", "24214"),
    "PL": ("26001", "26002", "26006"),
    "SE": ("24001", "24007", "24008"),
    "US": ("310260", "310410", "311480"),
}
ELSEWHERE: Final = ("00101",)
"""The test network of ITU-T E.212: for the countries that are not in the table."""

BEHAVIOURS: Final[dict[str, str]] = {
    "0404": "nobody serves the number: 404",
    "0503": "no answer: 503, every time",
    "0504": "an answer after ten seconds",
}
"""By the last four digits."""
_SLOW: Final = 10.0


def operator_of(number: str) -> str | None:
    """The network of a number in E.164; None when nobody serves it."""
    if number.endswith("0404"):
        return None
    networks = NETWORKS.get(facts(number).country or "", ELSEWHERE)
    return networks[int(number[-4:]) % len(networks)]


def routes() -> list[web.RouteDef]:
    """The register over HTTP."""

    async def get_operator(request: web.Request) -> web.Response:
        digits = request.match_info["number"]
        if digits.endswith("0503"):
            return web.json_response({"error": "the register does not answer"}, status=503)
        if digits.endswith("0504"):
            await asyncio.sleep(_SLOW)
        operator = operator_of(f"+{digits}")
        if operator is None:
            return web.json_response({"error": "nobody serves it"}, status=404)
        return web.json_response({"number": f"+{digits}", "mccmnc": operator})

    return [web.get("/operators/{number:[0-9]{4,15}}", get_operator)]
