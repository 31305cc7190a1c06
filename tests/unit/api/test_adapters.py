"""/v1/adapters, on a real store."""

from __future__ import annotations

import json

import httpx
import jsonschema
import pytest

from adapters.wasm.store.management import AdapterStore
from adapters.wasm.upload.archive import MAX_ZIP
from adapters.wasm.upload.inspection import Inspector
from adapters.wasm.upload.lifecycle import Lifecycle
from handlers.api.app import create_app
from tests.fakes import FakeEngine, FakeKeys, FakeLog
from tests.unit.api.conftest import ALICE, BOB
from tests.unit.wasm.bundles import CONFIGURED, FakeTrial, assembled, bundle, zipped

ACME = "/v1/adapters/acme"
ZIP = {"Content-Type": "application/zip"}


class World:
    """The API with a tenant's adapters behind it. Requests are Alice's unless `key` says
    otherwise."""

    def __init__(self, directory):
        self.directory = directory
        self.store = AdapterStore(directory / "hermes.db", directory)
        self.trial = FakeTrial()
        self.inspector = None
        self.app = create_app(
            FakeKeys({ALICE: "alice", BOB: "bob"}), FakeLog(), FakeEngine(),
            adapters=Lifecycle(self.store, self.trial, inspect=self.inspect),
        )  # fmt: skip
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://hermes.example"
        )

    async def inspect(self, component):
        if self.inspector is not None:
            await self.inspector(component)

    async def ask(self, method, path, *, key=ALICE, **options):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers |= options.pop("headers", {})
        return await self.client.request(method, path, headers=headers, **options)

    async def publish(self, data=None, path=f"{ACME}/versions", **options):
        content = zipped(**options.pop("manifest", {})) if data is None else data
        return await self.ask("POST", path, content=content, headers=ZIP, **options)

    async def configure(self, values, path=f"{ACME}/configuration", **more):
        return await self.ask("PUT", path, json={"configuration": values, **more})

    async def in_use(self):
        assert (await self.publish()).status_code == 201
        assert (await self.configure(CONFIGURED)).status_code == 200
        return (await self.ask("POST", f"{ACME}/activate")).json()


@pytest.fixture
async def world(tmp_path):
    made = World(tmp_path)
    yield made
    await made.client.aclose()


async def test_from_an_upload_to_use_and_back(world):
    published = (await world.publish()).json()
    assert (published["version"], published["active"]) == ("1.0.0", False)
    found = (await world.ask("GET", ACME)).json()
    assert (found["state"], found["active"], found["webhook"]) == ("available", None, None)
    await world.configure(CONFIGURED)
    active = await world.ask("POST", f"{ACME}/activate", json={"priority": 5})
    assert active.json()["active"] == {"version": "1.0.0", "digest": published["digest"]}
    assert (active.json()["state"], active.json()["priority"]) == ("active", 5)
    await world.publish(manifest={"version": "1.1.0"})
    newer = await world.ask("POST", f"{ACME}/activate", json={"version": "1.1.0"})
    assert newer.json()["active"]["version"] == "1.1.0"
    assert newer.json()["previous"]["version"] == "1.0.0"
    back = await world.ask("POST", f"{ACME}/rollback")
    assert back.json()["active"]["version"] == "1.0.0"
    idle = await world.ask("POST", f"{ACME}/deactivate")
    assert (idle.json()["state"], idle.json()["active"]) == ("available", None)
    assert idle.json()["previous"]["version"] == "1.0.0"
    again = await world.ask("POST", f"{ACME}/rollback")
    assert again.json()["active"]["version"] == "1.0.0"
    gone = await world.ask("DELETE", f"{ACME}/versions/1.1.0")
    assert gone.json()["version"]["version"] == "1.1.0"
    assert (await world.ask("DELETE", ACME)).json() == {"name": "acme", "removed": True}
    assert (await world.ask("GET", ACME)).status_code == 404
    assert (await world.ask("GET", "/v1/adapters")).json() == {"data": []}


async def test_secrets_are_shown_as_set_and_in_no_answer(world):
    await world.in_use()
    answers = [
        await world.ask("GET", ACME),
        await world.ask("GET", "/v1/adapters"),
        await world.configure({"region": "eu1"}),
        await world.ask("POST", f"{ACME}/activate"),
        await world.configure({"token": 5}),
        await world.configure({"token": "hush-hush-hush", "account": None}),
    ]
    assert not [answer for answer in answers if CONFIGURED["token"] in answer.text]
    shown = answers[2].json()["configuration"]
    assert (shown["token"]["set"], "value" in shown["token"]) == (True, False)
    assert (shown["account"]["set"], shown["account"]["value"]) == (True, "AC1")
    assert (shown["retries"]["set"], shown["retries"]["default"]) == (False, 3)
    assert shown["region"]["value"] == "eu1"


def imports(interface):
    return assembled(f'(component (import "{interface}" (instance)))')


REFUSED = {
    "no zip": (lambda: b"hello", "archive", "not a sound zip"),
    "another file": (lambda: zipped({"adapter.js": b""}), "archive", "adapter.js"),
    "a bad manifest": (lambda: zipped(contract="2.0.0"), "manifest", "contract"),
    "another name": (lambda: zipped(name="other"), "name", "other"),
    "no component": (lambda: zipped({"adapter.wasm": b"\0asm"}), "compile", ""),
    "an import of WASI": (
        lambda: zipped({"adapter.wasm": imports("wasi:io/poll@0.2.0")}), "imports", "wasi:io",
    ),
    "no exports": (
        lambda: zipped({"adapter.wasm": assembled("(component)")}), "exports", "plugin",
    ),
    "a number that is taken": (lambda: zipped(summary="Another."), "version", "1.0.0"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
async def test_an_upload_that_is_refused_names_the_check_and_the_finding(world, case):
    make, check, finding = REFUSED[case]
    await world.in_use()
    world.inspector = Inspector()
    before = (await world.ask("GET", ACME)).json()
    answer = await world.publish(make())
    assert (answer.status_code, answer.headers["content-type"]) == (
        422, "application/problem+json",
    )  # fmt: skip
    problem = answer.json()
    assert (problem["code"], problem["check"]) == ("adapter_refused", check)
    assert finding in problem["finding"]
    assert problem["finding"] in problem["detail"]
    assert (await world.ask("GET", ACME)).json() == before


async def test_all_faults_of_a_manifest_are_told_together(world):
    wrong = zipped(hosts=["127.0.0.1"], limits={"cpus": 4}, contract="2.0.0")
    problem = (await world.publish(wrong)).json()
    assert (problem["code"], problem["check"]) == ("adapter_refused", "manifest")
    assert problem["detail"] == "manifest.json has 3 faults."
    assert [(each["pointer"], each["code"]) for each in problem["errors"]] == [
        ("/contract", "invalid_value"),
        ("/hosts/0", "invalid_value"),
        ("/limits/cpus", "unknown_field"),
    ]
    assert problem["errors"][0]["detail"] == 'It has to be 1.0.0, not "2.0.0".'


@pytest.mark.parametrize(
    ("headers", "content", "status", "code"),
    [
        (ZIP, b"", 400, "body_required"),
        ({"Content-Type": "application/json"}, b"{}", 415, "unsupported_media_type"),
        (ZIP | {"Content-Encoding": "gzip"}, b"x", 415, "unsupported_media_type"),
        (ZIP, bytes(MAX_ZIP + 1), 413, "body_too_large"),
    ],
)
async def test_a_body_that_is_no_upload(world, headers, content, status, code):
    answer = await world.ask("POST", f"{ACME}/versions", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


WRONG = [
    ({"acount": "x"}, [("unknown_field", "/configuration/acount")]),
    ({"token": 5}, [("invalid_value", "/configuration/token")]),
    ({"region": "Europe"}, [("invalid_value", "/configuration/region")]),
    ({"account": None}, [("required", "/configuration/account")]),
    ({"a/b": "x"}, [("unknown_field", "/configuration/a~1b")]),
]


@pytest.mark.parametrize(("values", "errors"), WRONG)
async def test_a_wrong_key_is_named_by_its_path(world, values, errors):
    await world.in_use()
    answer = await world.configure(values)
    assert (answer.status_code, answer.json()["code"]) == (422, "adapter_configuration")
    assert [(each["code"], each["pointer"]) for each in answer.json()["errors"]] == errors


async def test_the_adapters_own_words_are_passed_on(world):
    await world.in_use()
    world.trial.says = "the account AC2 is closed"
    answer = await world.configure({"account": "AC2"})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "adapter_configuration")
    assert (problem["check"], problem["finding"]) == ("configure", "the account AC2 is closed")
    found = (await world.ask("GET", ACME)).json()
    assert found["configuration"]["account"]["value"] == "AC1"


async def test_an_adapter_that_is_ill_is_not_put_to_use(world):
    await world.in_use()
    await world.publish(manifest={"version": "1.1.0"})
    world.trial.ill = "Acme answers 401"
    problem = (await world.ask("POST", f"{ACME}/activate")).json()
    assert (problem["code"], problem["check"]) == ("adapter_refused", "health")
    assert problem["finding"] == "Acme answers 401"
    assert (await world.ask("GET", ACME)).json()["active"]["version"] == "1.0.0"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b"[]", 422, "validation_failed"),
        (b"{}", 422, "validation_failed"),
        (b'{"configuration":{"account":1.5}}', 422, "validation_failed"),
        (b'{"configuration":{"account":["x"]}}', 422, "validation_failed"),
        (b'{"configuration":{"account":"a\\u0000b"}}', 422, "validation_failed"),
        (b'{"configuration":{"token":"\\ud800"}}', 400, "malformed_json"),
        (b'{"configuration":{"retries":99999999999999999999}}', 422, "validation_failed"),
        (b'{"configuration":{"retries":9007199254740993}}', 422, "validation_failed"),
        (b'{"configuration":{},"more":1}', 422, "validation_failed"),
        (b'{"configuration":{},"version":"9.9.9"}', 404, "adapter_version_not_found"),
    ],
)
async def test_a_configuration_of_another_shape(world, body, status, code):
    await world.in_use()
    answer = await world.ask(
        "PUT", f"{ACME}/configuration", content=body, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"version": "9.9.9"}, 404, "adapter_version_not_found"),
        ({"version": ""}, 422, "validation_failed"),
        ({"version": 1}, 422, "validation_failed"),
        ({"priority": -1}, 422, "validation_failed"),
        ({"priority": 1001}, 422, "validation_failed"),
        ({"priority": True}, 422, "validation_failed"),
        ({"more": 1}, 422, "validation_failed"),
        ([], 422, "validation_failed"),
    ],
)
async def test_an_activation_of_another_shape(world, body, status, code):
    await world.in_use()
    answer = await world.ask("POST", f"{ACME}/activate", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_what_cannot_be_is_told(world):
    await world.publish()
    missing = await world.ask("POST", f"{ACME}/activate")
    assert {each["code"] for each in missing.json()["errors"]} == {"required"}
    await world.in_use()
    cases = [
        ("POST", f"{ACME}/rollback", 409, "adapter_no_previous"),
        ("DELETE", f"{ACME}/versions/1.0.0", 409, "adapter_version_in_use"),
        ("DELETE", f"{ACME}/versions/1.0.1", 404, "adapter_version_not_found"),
        ("PATCH", ACME, 405, "method_not_allowed"),
        ("GET", f"{ACME}/versions", 405, "method_not_allowed"),
    ]
    for method, path, status, code in cases:
        answer = await world.ask(method, path)
        assert (answer.status_code, answer.json()["code"]) == (status, code), path


ROUTES = [
    ("GET", "", {}),
    ("POST", "/versions", {"content": b"PK", "headers": ZIP}),
    ("PUT", "/configuration", {"json": {"configuration": {}}}),
    ("POST", "/activate", {}),
    ("POST", "/rollback", {}),
    ("POST", "/deactivate", {}),
    ("DELETE", "", {}),
    ("DELETE", "/versions/1.0.0", {}),
]


@pytest.mark.parametrize(("method", "path", "options"), ROUTES)
async def test_every_route_needs_a_key(world, method, path, options):
    for where in (f"{ACME}{path}", "/v1/adapters"):
        answer = await world.ask(method, where, key=None, **options)
        assert (answer.status_code, answer.json()["code"]) == (401, "missing_key")


@pytest.mark.parametrize(
    ("method", "path", "options"), [route for route in ROUTES if route[1] != "/versions"]
)
async def test_another_tenants_adapter_looks_like_none(world, method, path, options):
    await world.in_use()
    before = (await world.ask("GET", ACME)).json()
    theirs = await world.ask(method, f"{ACME}{path}", key=BOB, **options)
    nobodys = await world.ask(method, f"/v1/adapters/nothing{path}", key=BOB, **options)
    assert (theirs.status_code, theirs.json()["code"]) == (404, "adapter_not_found")
    assert theirs.json() == nobodys.json()
    assert (await world.ask("GET", ACME)).json() == before


async def test_two_tenants_may_have_adapters_of_one_name(world):
    await world.in_use()
    answer = await world.publish(manifest={"summary": "Bob's own."}, key=BOB)
    assert answer.status_code == 201
    assert (await world.ask("GET", ACME, key=BOB)).json()["summary"] == "Bob's own."
    assert (await world.ask("GET", ACME)).json()["summary"] == "Messages through Acme."


async def test_what_comes_with_hermes_is_listed_and_says_where_its_webhook_is(world):
    scheme = {"scheme": "twilio", "secret": "token"}
    world.store.offer([bundle(name="ours", webhook=scheme)])
    [listed] = (await world.ask("GET", "/v1/adapters")).json()["data"]
    assert (listed["name"], listed["state"]) == ("ours", "available")
    found = (await world.ask("GET", "/v1/adapters/ours")).json()
    assert found["webhook"] == "/v1/webhooks/alice/ours"
    assert [version["built_in"] for version in found["versions"]] == [True]


async def test_answers_have_the_documented_shape(world):
    schemas = world.app.openapi()["components"]["schemas"]
    answers = {
        "VersionView": await world.publish(),
        "AdapterList": await world.ask("GET", "/v1/adapters"),
        "ProblemDetails": await world.publish(b"hello"),
        "AdapterView": await world.configure(CONFIGURED),
        "RemovedAdapter": await world.ask("DELETE", ACME),
    }
    for name, answer in answers.items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        jsonschema.validate(answer.json(), schema)
        assert set(answer.json()) <= set(schemas[name]["properties"])
        assert set(schemas[name]["required"]) <= set(answer.json())


async def test_every_path_is_documented(world):
    document = json.loads((await world.ask("GET", "/openapi.json", key=None)).text)
    documented = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith("/v1/adapters")
    }
    assert documented == {("GET", "/v1/adapters")} | {
        (method, f"/v1/adapters/{{name}}{path.replace('1.0.0', '{version}')}")
        for method, path, _ in ROUTES
    }
    upload = document["paths"]["/v1/adapters/{name}/versions"]["post"]["requestBody"]
    assert list(upload["content"]) == ["application/zip"]


async def test_without_adapters_there_is_nothing_there(world):
    app = create_app(FakeKeys({ALICE: "alice"}), FakeLog(), FakeEngine())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hermes.example") as client:
        headers = {"Authorization": f"Bearer {ALICE}"}
        for path in ("/v1/adapters", ACME):
            answer = await client.get(path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
