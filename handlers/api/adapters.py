"""/v1/adapters: a tenant's HTTP providers, from the upload of a version to its removal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from adapters.store.audit import acting
from adapters.wasm.manifest_faults import NO_SUCH_KEY
from adapters.wasm.store.management import (
    NoPrevious,
    Overtaken,
    UnknownAdapter,
    UnknownVersion,
    VersionInUse,
)
from adapters.wasm.upload.archive import MAX_ZIP
from adapters.wasm.upload.lifecycle import Busy, Lifecycle
from adapters.wasm.upload.refusal import MISSING, UNKNOWN, NotConfigured, Refused
from domain.ports import Principal, TenantDirectory
from domain.tenancy import Scope, Tier
from handlers.api import body, operation
from handlers.api.adapter_answers import (
    AdapterList,
    RemovedAdapter,
    adapter_summary,
    adapter_view,
    version_ref,
    version_view,
)
from handlers.api.adapter_bodies import ActivationBody, ConfigurationBody
from handlers.api.answers import encode
from handlers.api.door import Endpoint, principal_of
from handlers.api.problems import FieldError, Problem, pointer

ZIP: Final = "application/zip"
MAX_CONFIGURATION: Final = 256 * 1024
MAX_ACTIVATION: Final = 4096

_CODES: Final = {MISSING: "required", UNKNOWN: "unknown_field"}
_NAME: Final = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "The adapter's name, as its manifest has it.",
    "schema": {"type": "string", "pattern": "^[a-z][a-z0-9-]{1,31}$"},
    "example": "twilio",
}
_VERSION: Final = {
    "name": "version",
    "in": "path",
    "required": True,
    "description": "The version's number, or the beginning of its digest, at least eight digits.",
    "schema": {"type": "string"},
    "example": "1.2.0",
}
_JSON_PROBLEMS: Final = (
    "malformed_json",
    "body_too_large",
    "unsupported_media_type",
    "validation_failed",
)


def add_routes(
    router: APIRouter, adapters: Lifecycle | None, tenants: TenantDirectory | None = None
) -> None:
    """Serve the resource; every path is `not_found` where there are no `adapters`. Of `tenants`,
    those of the tier `custom` may upload their own; without them, all."""

    def may_upload(principal: Principal) -> None:
        tenant = None if tenants is None else tenants.tenant(principal.tenant)
        if tenant is not None and not tenant.tier.covers(Tier.CUSTOM):
            raise Problem("tier_required", "Adapters of your own need the tier `custom`.")

    def lifecycle() -> Lifecycle:
        if adapters is None:
            raise Problem("not_found")
        return adapters

    async def list_adapters(request: Request) -> Response:
        """Your adapters and those that come with Hermes, in use or not."""
        found = await lifecycle().all(principal_of(request).tenant)
        return _answer(AdapterList([adapter_summary(adapter) for adapter in found]))

    async def get_adapter(request: Request) -> Response:
        """An adapter with its versions, its health and its configuration, without secrets."""
        with _problems():
            adapter = await lifecycle().get(*_place(request))
        return _answer(adapter_view(adapter))

    async def publish_adapter_version(request: Request) -> Response:
        """Upload a version: a zip of `manifest.json`, `adapter.wasm` and, if you like, `README.md`,
        as `hermes adapters build` makes it.

        It is checked, compiled and, if your configuration suits it, tried; it is not in use before
        you activate it. The same zip may be sent again.
        """
        may_upload(principal_of(request))

        async def upload() -> bytes:
            return await body.read(request, MAX_ZIP, ZIP)

        with _problems():
            adapter, version = await lifecycle().publish(*_place(request), upload)
        return _answer(version_view(adapter, version), 201)

    async def configure_adapter(request: Request) -> Response:
        """Change values of the configuration. It is tried first, with `on-configure` and a health
        check, and in use from then on. Secrets are kept sealed, and never shown."""
        raw = await body.read(request, MAX_CONFIGURATION)
        wanted = body.parse(raw, ConfigurationBody)
        with _problems("adapter_configuration"):
            adapter = await lifecycle().configure(
                *_place(request), wanted.configuration, wanted.version
            )
        return _answer(adapter_view(adapter))

    async def activate_adapter(request: Request) -> Response:
        """Put a version to use. It is tried first. Attempts that began with another version finish
        on that one, and new attempts take this one at once."""
        raw = await body.read(request, MAX_ACTIVATION, required=False)
        wanted = body.parse(raw, ActivationBody) if raw else ActivationBody()
        with _problems():
            adapter = await lifecycle().activate(*_place(request), wanted.version, wanted.priority)
        return _answer(adapter_view(adapter))

    async def roll_adapter_back(request: Request) -> Response:
        """Go back to the version that was in use before, at once. Doing it again goes forward."""
        with _problems():
            adapter = await lifecycle().rollback(*_place(request))
        return _answer(adapter_view(adapter))

    async def deactivate_adapter(request: Request) -> Response:
        """Take an adapter out of use, and keep its versions and its configuration. Attempts that
        began with it finish. Rolling back, or activating a version, puts it to use again."""
        with _problems():
            adapter = await lifecycle().deactivate(*_place(request))
        return _answer(adapter_view(adapter))

    async def remove_adapter(request: Request) -> Response:
        """Take an adapter out of use, and its versions, configuration and values away. Attempts
        that began with it finish. One that comes with Hermes stays available."""
        tenant, name = _place(request)
        with _problems():
            await lifecycle().remove(tenant, name)
        return _answer(RemovedAdapter(name, True))

    async def remove_adapter_version(request: Request) -> Response:
        """Take a version away that is not active. Attempts that began with it finish."""
        tenant, name = _place(request)
        with _problems():
            version = await lifecycle().remove_version(tenant, name, request.path_params["version"])
        return _answer(RemovedAdapter(name, True, version_ref(version)))

    def add(method: str, path: str, endpoint: Any, summary: str, **options: Any) -> None:
        status = options.pop("status", 200)
        operation.add(
            router,
            method,
            f"/v1/adapters{path}",
            endpoint if method == "GET" else _acting(endpoint),
            scope=Scope.READ if method == "GET" else Scope.ADAPTERS,
            tag="Adapters",
            summary=summary,
            status=status,
            **options,
        )

    add("GET", "", list_adapters, "List the adapters", answer="AdapterList")
    add(
        "GET",
        "/{name}",
        get_adapter,
        "Look at an adapter",
        answer="AdapterView",
        parameters=[_NAME],
        problems=["adapter_not_found"],
    )
    add(
        "POST",
        "/{name}/versions",
        publish_adapter_version,
        "Upload a version",
        status=201,
        answer="VersionView",
        upload=ZIP,
        parameters=[_NAME],
        problems=[
            "body_required",
            "body_too_large",
            "unsupported_media_type",
            "tier_required",
            "adapter_refused",
            "adapter_busy",
        ],
    )
    add(
        "PUT",
        "/{name}/configuration",
        configure_adapter,
        "Configure an adapter",
        answer="AdapterView",
        body="ConfigurationBody",
        parameters=[_NAME],
        problems=[
            "body_required",
            *_JSON_PROBLEMS,
            "adapter_not_found",
            "adapter_version_not_found",
            "adapter_configuration",
            "adapter_busy",
        ],
    )
    add(
        "POST",
        "/{name}/activate",
        activate_adapter,
        "Put a version to use",
        answer="AdapterView",
        body="ActivationBody",
        body_required=False,
        parameters=[_NAME],
        problems=[
            *_JSON_PROBLEMS,
            "adapter_not_found",
            "adapter_version_not_found",
            "adapter_refused",
            "adapter_configuration",
            "adapter_busy",
        ],
    )
    add(
        "POST",
        "/{name}/rollback",
        roll_adapter_back,
        "Go back to the version of before",
        answer="AdapterView",
        parameters=[_NAME],
        problems=[
            "adapter_not_found",
            "adapter_no_previous",
            "adapter_configuration",
            "adapter_busy",
        ],
    )
    add(
        "POST",
        "/{name}/deactivate",
        deactivate_adapter,
        "Take an adapter out of use",
        answer="AdapterView",
        parameters=[_NAME],
        problems=["adapter_not_found", "adapter_busy"],
    )
    add(
        "DELETE",
        "/{name}",
        remove_adapter,
        "Remove an adapter",
        answer="RemovedAdapter",
        parameters=[_NAME],
        problems=["adapter_not_found", "adapter_busy"],
    )
    add(
        "DELETE",
        "/{name}/versions/{version}",
        remove_adapter_version,
        "Remove a version",
        answer="RemovedAdapter",
        parameters=[_NAME, _VERSION],
        problems=[
            "adapter_not_found",
            "adapter_version_not_found",
            "adapter_version_in_use",
            "adapter_busy",
        ],
    )


def _code(words: str) -> str:
    if words.startswith(NO_SUCH_KEY):
        return "unknown_field"
    return _CODES.get(words, "invalid_value")


def _acting(endpoint: Endpoint) -> Endpoint:
    """The endpoint, with the key as whom the audit log names."""

    async def acting_by_key(request: Request) -> Response:
        acting.set(f"key:{principal_of(request).key_id}")
        return await endpoint(request)

    acting_by_key.__name__, acting_by_key.__doc__ = endpoint.__name__, endpoint.__doc__
    return acting_by_key


def _place(request: Request) -> tuple[str, str]:
    return principal_of(request).tenant, request.path_params["name"]


def _answer(value: Any, status: int = 200) -> Response:
    return Response(encode(value), status, media_type="application/json")


@contextmanager
def _problems(refused: str = "adapter_refused") -> Iterator[None]:
    """Turn what the life cycle raises into problems; `refused` is the code of a failed check."""
    try:
        yield
    except UnknownAdapter:
        raise Problem("adapter_not_found") from None
    except UnknownVersion:
        raise Problem("adapter_version_not_found") from None
    except Refused as refusal:
        errors = [
            FieldError(_code(fault.words), f"It {fault.words}.", fault.pointer)
            for fault in refusal.faults
        ]
        count = f"manifest.json has {len(errors)} faults." if len(errors) > 1 else str(refusal)
        raise Problem(
            refused, count, check=refusal.check, finding=refusal.finding, errors=errors
        ) from None
    except NotConfigured as wrong:
        errors = [
            FieldError(
                _CODES.get(fault, "invalid_value"),
                f"{key} {fault}.",
                pointer(("configuration", key)),
            )
            for key, fault in wrong.faults.items()
        ]
        detail = "; ".join(f"{key} {fault}" for key, fault in wrong.faults.items())
        raise Problem("adapter_configuration", f"{detail}.", errors=errors) from None
    except VersionInUse as used:
        raise Problem("adapter_version_in_use", f"The version stays: {used}.") from None
    except NoPrevious:
        raise Problem("adapter_no_previous") from None
    except (Busy, Overtaken):
        raise Problem("adapter_busy", headers={"Retry-After": "2"}) from None
