"""The OpenAPI document, the pages and the probes."""

import asyncio
import json
import re

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from domain.channels import CHANNELS
from domain.channels import plan as plans
from handlers.api.docs import ASSETS
from handlers.api.problems import FIELD_ERRORS, PROBLEMS
from tests.unit.api.conftest import MESSAGE
from tests.unit.api.test_authentication import OPEN

# What the router answers about paths and methods that the document cannot name.
OF_THE_ROUTER = {"not_found", "method_not_allowed"}


@pytest.fixture
def document(world):
    return world.app.openapi()


def operations(document):
    return [op for methods in document["paths"].values() for op in methods.values()]


def test_the_document_is_valid_openapi(document):
    assert document["openapi"].startswith("3.1")
    validate(document, cls=OpenAPIV31SpecValidator)


def test_every_reference_leads_somewhere(document):
    for reference in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)):
        assert reference in document["components"]["schemas"]


def test_every_problem_is_documented_and_belongs_to_an_operation(document):
    shown = {
        code
        for operation in operations(document)
        for response in operation["responses"].values()
        for code in response.get("content", {})
        .get("application/problem+json", {})
        .get("examples", {})
    }
    assert shown | OF_THE_ROUTER == set(PROBLEMS)
    schemas = document["components"]["schemas"]
    assert set(schemas["ProblemDetails"]["properties"]["code"]["enum"]) == set(PROBLEMS)
    assert set(schemas["FieldError"]["properties"]["code"]["enum"]) == set(FIELD_ERRORS)


@pytest.mark.parametrize("code", [*PROBLEMS, *FIELD_ERRORS])
async def test_every_code_has_its_page(world, code):
    page = await world.get(f"/problems/{code}", key=None)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert code in page.text
    assert "script" not in page.headers["content-security-policy"]


async def test_a_page_about_no_code_is_not_there(world):
    answer = await world.get("/problems/<script>", key=None)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_every_code_of_the_channels_is_in_the_table():
    codes = {code for rules in CHANNELS.values() for code in rules.codes} | set(plans.CODES)
    assert codes <= set(FIELD_ERRORS)
    assert not set(FIELD_ERRORS) & set(PROBLEMS)


def test_every_closed_operation_names_the_key(document):
    for path, methods in document["paths"].items():
        for operation in methods.values():
            is_open = path in OPEN
            assert (operation["security"] == []) is is_open
            assert ("401" in operation["responses"]) is not is_open
            assert operation["description"]


async def test_the_documents_example_is_accepted(world, document):
    (example,) = document["components"]["schemas"]["MessageBody"]["examples"]
    assert (await world.post(example)).status_code == 202


def bodies(document):
    """The schemas of JSON bodies, by their names."""
    for methods in document["paths"].values():
        for operation in methods.values():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content:
                name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
                yield name, document["components"]["schemas"][name]


def test_every_body_has_an_example_that_fits(document):
    schemas = document["components"]["schemas"]
    for name, schema in bodies(document):
        assert schema.get("examples"), name
        for example in schema["examples"]:
            whole = {
                "$ref": f"#/components/schemas/{name}",
                "components": {"schemas": schemas},
            }
            jsonschema.validate(example, whole)


async def test_answers_have_the_documented_shape(world, document):
    """Not one field more or less than the schema says."""
    message_id = (await world.post()).json()["id"]
    path = f"/v1/messages/{message_id}"
    schemas = document["components"]["schemas"]
    answers = {
        "AcceptedMessage": await world.post(),
        "MessageView": await world.get(path),
        "MessagePage": await world.get("/v1/messages"),
        "BatchAnswer": await world.batch([MESSAGE, {}]),
        "ProblemDetails": await world.post({}),
        "Cancellation": await world.delete(path),
    }
    for name, answer in answers.items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        jsonschema.validate(answer.json(), schema)
        assert set(answer.json()) <= set(schemas[name]["properties"])
        assert set(schemas[name]["required"]) <= set(answer.json())


async def test_the_docs_page_needs_nothing_from_elsewhere(world):
    page = await world.get("/docs", key=None)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    assert not re.search(r"(https?:)?//", page.text.replace("<!doctype html>", ""))
    for link in re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text):
        asset = await world.get(f"/{link}", key=None)
        assert asset.status_code == 200, link
        assert asset.headers["cache-control"].startswith("public")


@pytest.mark.parametrize("name", ASSETS)
async def test_the_packaged_assets_are_there(world, name):
    asset = await world.get(f"/docs/{name}", key=None)
    assert len(asset.content) > 100_000


@pytest.mark.parametrize("name", ["index.html", "..%2f__init__.py", "favicon.png"])
async def test_no_other_file_is_served(world, name):
    assert (await world.get(f"/docs/{name}", key=None)).status_code == 404


async def test_the_document_is_served_to_everyone(world, document):
    assert (await world.get("/openapi.json", key=None)).json() == json.loads(json.dumps(document))


async def test_every_answer_tells_browsers_not_to_guess(world):
    for path in ("/healthz", "/docs", "/v1/messages", "/v1/nothing"):
        answer = await world.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"]


async def test_an_answer_about_messages_is_not_kept_in_caches(world):
    assert (await world.get("/v1/messages")).headers["cache-control"] == "no-store"


async def test_the_process_is_up(world):
    world.engine.down = world.log.broken = True
    assert (await world.get("/healthz", key=None)).json() == {"status": "ok"}


async def test_ready_when_restate_and_the_log_answer(world):
    assert (await world.get("/readyz", key=None)).json() == {"status": "ready"}


@pytest.mark.parametrize(
    ("engine", "log", "missing"),
    [(True, False, "engine."), (False, True, "log."), (True, True, "engine and log.")],
)
async def test_not_ready_when_one_does_not_answer(world, engine, log, missing):
    world.engine.down, world.log.broken = engine, log
    answer = await world.get("/readyz", key=None)
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert answer.json()["detail"].endswith(missing)
    assert answer.headers["retry-after"]


async def test_not_ready_when_restate_hangs(world):
    async def hangs():
        await world.engine.never.wait()

    world.engine.never = asyncio.Event()
    world.engine.ready = hangs
    assert (await world.get("/readyz", key=None)).status_code == 503
