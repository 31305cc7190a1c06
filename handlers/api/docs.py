"""The documentation that the API serves about itself, without anything from the internet.

Swagger UI's two files come from the `fastapi-offline` package; the page around them is ours, so
that no script is inline and the content security policy can be strict.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from handlers.api import codes
from handlers.api.answers import encode
from handlers.api.problems import PAGE, Problem

ASSETS: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
_START: Final = """\
window.addEventListener("load", () => {
  SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#docs",
    deepLinking: true,
    displayRequestDuration: true,
    validatorUrl: null,
  });
});
"""
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hermes API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_SAFE: Final = {
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# Swagger UI sets styles of its own; its icons are data URLs.
_DOCS_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# The style stands in the page, which loads nothing; the icon is a data URL.
_CODES_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_CACHED: Final = {"Cache-Control": "public, max-age=3600"}


def add_routes(router: APIRouter, app: FastAPI) -> None:
    """Serve the OpenAPI document of `app`, the page that shows it, and a page about each code."""

    @cache
    def document() -> bytes:
        return encode(app.openapi())

    async def openapi(_request: Request) -> Response:
        """The OpenAPI document."""
        return Response(document(), media_type="application/json")

    async def docs(_request: Request) -> Response:
        """The page that shows the OpenAPI document."""
        headers = {"Content-Security-Policy": _DOCS_POLICY, **_SAFE}
        return Response(_PAGE, headers=headers, media_type="text/html")

    async def asset(request: Request) -> Response:
        """A file of that page."""
        name = request.path_params["name"]
        if name == "start.js":
            return Response(_START, headers=_CACHED, media_type="text/javascript")
        if name not in ASSETS:
            raise Problem("not_found")
        return Response(_asset(name), headers=_CACHED, media_type=ASSETS[name])

    all_codes = cache(codes.page)

    async def problems(_request: Request) -> Response:
        """Every code there is."""
        return _page(all_codes())

    async def problem(request: Request) -> Response:
        """What a problem's `type` leads to."""
        code = codes.code_of(request.path_params["code"])
        if code is None:
            raise Problem("not_found")
        return _page(codes.page_of(code))

    router.add_route("/openapi.json", openapi, include_in_schema=False)
    router.add_route("/docs", docs, include_in_schema=False)
    router.add_route("/docs/{name}", asset, include_in_schema=False)
    router.add_route(PAGE.rstrip("/"), problems, include_in_schema=False)
    router.add_route(PAGE + "{code}", problem, include_in_schema=False)


def _page(text: str) -> Response:
    headers = {"Content-Security-Policy": _CODES_POLICY, **_SAFE, **_CACHED}
    return Response(text, headers=headers, media_type="text/html")


@cache
def _asset(name: str) -> bytes:
    return (files("fastapi_offline") / "static" / name).read_bytes()
