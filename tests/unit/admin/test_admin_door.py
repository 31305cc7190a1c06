"""Every path of the admin API asks for the operator's key, and says no as the API does."""

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from handlers.admin.app import PATHS
from infra.processes.pool import _ADMIN_PATHS

REFUSED = {
    "no_header": ({}, "missing_key"),
    "basic": ({"Authorization": "Basic YTpi"}, "missing_key"),
    "empty": ({"Authorization": "Bearer "}, "missing_key"),
    "another": ({"Authorization": "Bearer hok_somebody-elses-key!!"}, "invalid_key"),
    "a_part_of_it": ({"Authorization": "Bearer hok_the-operators"}, "invalid_key"),
    "not_ascii": ({"Authorization": "Bearer clé".encode()}, "invalid_key"),
    "without_end": ({"Authorization": "Bearer " + "x" * 5000}, "invalid_key"),
}


def every_route(world):
    return [(method, route.path) for route in world.api.routes for method in route.methods]


async def test_every_route_needs_the_operators_key(world):
    routes = every_route(world)
    assert len(routes) >= 13
    before = world.operations.list()[0].configuration
    for method, path in routes:
        assert path.startswith(PATHS), "the listener would send it to Restate's handlers"
        filled = path.replace("{name}", "one").replace("{code}", "carrier_exists")
        for key, code in ((None, "missing_key"), ("nobody", "invalid_key")):
            answer = await world.request(method, filled, key=key, json={"window": 1})
            assert answer.status_code == 401, (method, path)
            if method != "HEAD":
                assert answer.json()["code"] == code
    assert world.operations.get("one").state == "up"
    assert world.operations.get("one").configuration == before


@pytest.mark.parametrize(("headers", "code"), REFUSED.values(), ids=REFUSED)
async def test_a_bad_key_is_refused(world, headers, code):
    answer = await world.get("carriers", key=None, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_paths_that_are_not_there_need_a_key_too(world):
    assert (await world.get("nothing", key=None)).status_code == 401
    answer = await world.get("nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_method_that_a_path_does_not_know_is_told_those_that_it_does(world):
    answer = await world.request("PUT", "carriers/one", json={})
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert {"GET", "PATCH", "DELETE"} <= set(answer.headers["allow"].split(", "))


async def test_answers_are_not_to_be_kept(world):
    answer = await world.get("carriers")
    assert answer.headers["cache-control"] == "no-store"


async def test_the_type_of_a_problem_leads_to_what_it_means(world):
    problem = (await world.get("carriers/nobody")).json()
    page = await world.get(problem["type"])
    assert page.status_code == 200
    assert problem["title"] in page.text
    assert (await world.get("problems/nothing")).status_code == 404


async def test_the_document_is_valid_openapi_and_has_every_route(world):
    document = (await world.get("openapi.json")).json()
    validate(document, cls=OpenAPIV31SpecValidator)
    documented = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert documented == {route for route in every_route(world) if route[0] != "HEAD"}
    assert all(
        operation["description"]
        for methods in document["paths"].values()
        for operation in methods.values()
    )


def test_the_listener_and_the_application_agree_on_the_paths():
    assert all(path.startswith(_ADMIN_PATHS) for path in PATHS)


BODIES = {
    "none": (b"", {}, 400, "body_required"),
    "not_json": (b"{", {}, 400, "malformed_json"),
    "not_utf_8": (b'{"name": "\xff"}', {}, 400, "malformed_json"),
    "deep": (b'{"a":' * 10_000, {}, 400, "malformed_json"),
    "a_list": (b"[]", {}, 422, "validation_failed"),
    "large": (b" " * 70_000, {}, 413, "body_too_large"),
    "text": (b"{}", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
    "packed": (b"{}", {"content-encoding": "gzip"}, 415, "unsupported_media_type"),
}


@pytest.mark.parametrize(("body", "headers", "status", "code"), BODIES.values(), ids=BODIES)
@pytest.mark.parametrize(("method", "path"), [("POST", "carriers"), ("PATCH", "carriers/one")])
async def test_bodies_that_are_none(world, method, path, body, headers, status, code):
    headers = {"content-type": "application/json", **headers}
    answer = await world.request(method, path, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert list(await world.states()) == ["one"]


async def test_a_key_works_in_any_case_of_the_scheme(world):
    answer = await world.get(
        "carriers", key=None, headers={"Authorization": "bEARER hok_the-operators-own-key"}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("depth", [500, 900, 960, 980, 990, 995])
async def test_a_body_that_is_nested_deeply_is_refused(world, depth):
    body = b'{"tls":' * depth + b"0" + b"}" * depth
    headers = {"content-type": "application/json"}
    answer = await world.request("PATCH", "carriers/one", content=body, headers=headers)
    assert answer.json()["code"] in ("malformed_json", "carrier_invalid")
