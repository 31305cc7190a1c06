"""Templates of a tenant: versions that never change, one in use, and messages made from them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from adapters.store import audit
from adapters.store.change import looking
from adapters.store.sections import Sections
from adapters.store.tenants import create_tenant
from adapters.templates.store import TemplateStore, follow
from domain.limits import Cap
from domain.message import MessageOrder, TemplateUse
from domain.templates.definition import Definition
from handlers.api.app import create_app
from handlers.api.problems import Problem
from handlers.api.services import OwnServices
from handlers.api.template_limits import LARGE, TemplateLimits
from handlers.api.templates import TemplateResource
from handlers.pipeline.layers import in_order
from tests.fakes import FakeEngine, FakeKeys, FakeLog

KEY, OTHER = "key-of-acme", "key-of-globex"
DEFINITION = {
    "default_language": "en",
    "variables": {"name": {"max_length": 20}, "day": {"type": "date"}},
    "languages": {
        "en": {"text": "Hi {{name}}, see you on {{day|long}}."},
        "da": {"text": "Hej {{name}}, vi ses den {{day|long}}."},
    },
}
VALUES = {"name": "Anna", "day": "2026-03-12"}


def changed(text: str) -> dict[str, Any]:
    languages = {**DEFINITION["languages"], "en": {"text": text}}
    return {**DEFINITION, "languages": languages}


@dataclass
class Api:
    """The API over a real store. Requests are acme's unless `key` says otherwise."""

    client: httpx.AsyncClient
    engine: FakeEngine
    where: Path | str

    async def call(self, method: str, path: str = "", body: Any = None, key: str = KEY):
        return await self.client.request(
            method,
            f"/v1/templates{path}",
            json=body,
            headers={"Authorization": f"Bearer {key}"},
        )

    async def made(self, name: str = "visit", definition: Any = DEFINITION) -> dict[str, Any]:
        answer = await self.call("POST", body={"name": name, "definition": definition})
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def send(self, key: str = KEY, **facts: Any):
        body = {"to": {"sms": "+4520123456"}, **facts}
        headers = {"Authorization": f"Bearer {key}"}
        return await self.client.post("/v1/messages", json=body, headers=headers)

    async def sent(self, **template: Any) -> MessageOrder:
        """The order of a message that is made from a template."""
        answer = await self.send(template={"name": "visit", "variables": VALUES, **template})
        assert answer.status_code == 202, answer.text
        return self.engine.held[answer.json()["id"]]


@pytest.fixture
async def api(where: Path | str) -> AsyncIterator[Api]:
    for tenant in ("acme", "globex"):
        create_tenant(where, tenant)
    sections = Sections(where)
    store = TemplateStore(where)
    library = follow(sections, store)
    engine = FakeEngine()
    app = create_app(
        FakeKeys({KEY: "acme", OTHER: "globex"}),
        FakeLog(),
        engine,
        pipeline=in_order(providers=OwnServices(), templates=library),
        templates=TemplateResource(library, store),
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hermes.example") as client:
        yield Api(client, engine, where)
    sections.close()


async def test_a_message_keeps_the_version_that_it_was_accepted_with(api: Api):
    made = await api.made()
    assert (made["active"], [v["version"] for v in made["versions"]]) == (1, [1])
    first = await api.sent(language="da-DK")
    assert first.content.text == "Hej Anna, vi ses den 12. marts 2026."
    assert first.template == TemplateUse("visit", 1, "da")

    body = {"definition": changed("Dear {{name}}: {{day}}")}
    second = (await api.call("POST", "/visit/versions", body)).json()
    assert (second["version"], second["active"]) == (2, False)
    assert (await api.sent()).template == TemplateUse("visit", 1, "en"), "not before it is active"
    assert (await api.sent(version=2)).content.text == "Dear Anna: Mar 12, 2026"

    assert (await api.call("POST", "/visit/activate", {"version": 2})).json()["active"] == 2
    assert (await api.sent()).template == TemplateUse("visit", 2, "en")
    assert (await api.sent(version=1)).content.text == "Hi Anna, see you on March 12, 2026."
    assert (await api.call("POST", "/visit/activate", {"version": 1})).json()["active"] == 1
    assert (await api.sent()).template == TemplateUse("visit", 1, "en")


async def test_the_timeline_says_which_template_made_the_message(api: Api):
    await api.made()
    order = await api.sent()
    assert [
        (verdict.outcome.value, verdict.code, verdict.detail)
        for verdict in order.verdicts
        if verdict.layer == "schema"
    ] == [("change", "template_rendered", "visit 1 in en")]


async def test_what_the_content_rules_refuse_is_the_templates(api: Api):
    await api.made()
    values = {**VALUES, "name": "{{first_name}}"}
    answer = await api.send(template={"name": "visit", "variables": values})
    assert (answer.status_code, answer.json()["code"]) == (422, "content_refused")
    assert [(e["code"], e["pointer"]) for e in answer.json()["errors"]] == [
        ("unfilled_placeholder", "/template")
    ]


async def test_the_recipients_language_is_taken_unless_the_message_names_one(api: Api):
    await api.made()
    asked = {"name": "visit", "variables": VALUES}
    answer = await api.send(template=asked, recipient={"locale": "da-DK"})
    assert api.engine.held[answer.json()["id"]].template == TemplateUse("visit", 1, "da")
    answer = await api.send(template={**asked, "language": "en"}, recipient={"locale": "da-DK"})
    assert api.engine.held[answer.json()["id"]].template == TemplateUse("visit", 1, "en")


async def test_the_same_definition_again_is_the_same_version(api: Api):
    await api.made()
    again = await api.call("POST", "/visit/versions", {"definition": DEFINITION})
    assert again.json()["version"] == 1
    other = await api.call(
        "POST", "/visit/versions", {"definition": changed("x"), "activate": True}
    )
    assert (other.json()["version"], other.json()["active"]) == (2, True)


async def test_a_version_is_as_it_was_published(api: Api):
    await api.made()
    await api.call("POST", "/visit/versions", {"definition": changed("x")})
    first = (await api.call("GET", "/visit/versions/1")).json()
    assert first["definition"] == DEFINITION
    assert first["created_by"].startswith("key:")
    for number in ("3", "0", "x", "1e0", "99999999999"):
        answer = await api.call("GET", f"/visit/versions/{number}")
        assert (answer.status_code, answer.json()["code"]) == (404, "template_version_not_found")
    answer = await api.call("POST", "/visit/activate", {"version": 3})
    assert (answer.status_code, answer.json()["code"]) == (404, "template_version_not_found")


async def test_a_removed_template_makes_no_message_and_its_versions_go_on(api: Api):
    await api.made()
    assert (await api.call("DELETE", "/visit")).json() == {"name": "visit", "removed": True}
    assert (await api.call("GET")).json()["data"] == []
    assert (await api.call("DELETE", "/visit")).status_code == 404
    answer = await api.send(template={"name": "visit", "variables": VALUES})
    assert [e["code"] for e in answer.json()["errors"]] == ["unknown_template"]
    again = await api.made(definition=changed("again"))
    assert again["active"] == 2


async def test_a_name_is_taken_once(api: Api):
    await api.made()
    answer = await api.call("POST", body={"name": "visit", "definition": DEFINITION})
    assert (answer.status_code, answer.json()["code"]) == (409, "template_exists")


async def test_changes_are_in_the_audit_log(api: Api):
    await api.made()
    body = {"definition": changed("x"), "activate": True}
    await api.call("POST", "/visit/versions", body)
    await api.call("DELETE", "/visit")
    with looking(api.where) as database:
        lines = audit.entries(database, tenant="acme", limit=10)
    ours = [line.action for line in lines if line.action.startswith("template.")]
    assert ours == ["template.remove", "template.activate", "template.publish", "template.create"]


FOREIGN = [
    ("GET", "", None),
    ("POST", "/versions", {"definition": DEFINITION}),
    ("GET", "/versions/1", None),
    ("POST", "/activate", {"version": 1}),
    ("POST", "/render", {"variables": VALUES}),
    ("DELETE", "", None),
]


@pytest.mark.parametrize(("method", "path", "body"), FOREIGN)
async def test_another_tenants_template_is_as_one_that_does_not_exist(
    api: Api, method: str, path: str, body: Any
):
    await api.made()
    foreign = await api.call(method, f"/visit{path}", body, key=OTHER)
    missing = await api.call(method, f"/nothing{path}", body, key=OTHER)
    assert foreign.status_code == 404
    assert foreign.content == missing.content
    assert (await api.call("GET", key=OTHER)).json()["data"] == []
    answer = await api.send(key=OTHER, template={"name": "visit", "variables": VALUES})
    assert [e["code"] for e in answer.json()["errors"]] == ["unknown_template"]
    assert (await api.call("GET", "/visit")).status_code == 200


FAULTS = [
    ({"template": {"name": "gone"}}, [("unknown_template", "/template/name")]),
    (
        {"template": {"name": "visit", "version": 9}},
        [("unknown_template_version", "/template/version")],
    ),
    (
        {"template": {"name": "visit", "variables": {"name": "x" * 21, "when": 1}}},
        [
            ("variable_too_long", "/template/variables/name"),
            ("unknown_variable", "/template/variables/when"),
            ("variable_missing", "/template/variables/day"),
        ],
    ),
    ({}, [("required", "/content")]),
    (
        {"template": {"name": "visit", "variables": VALUES}, "content": {"text": "x"}},
        [("content_and_template", "/template")],
    ),
    (
        {"template": {"name": "gone"}, "to": {"sms": "nobody", "fax": "1"}},
        [
            ("unknown_template", "/template/name"),
            ("not_a_number", "/to/sms"),
            ("unknown_channel", "/to/fax"),
        ],
    ),
    ({"to": {"sms": "nobody"}}, [("required", "/content"), ("not_a_number", "/to/sms")]),
    ({"template": {"name": "long"}}, [("too_many_segments", "/template")]),
    ({"template": {"name": ""}}, [("too_short", "/template/name")]),
    ({"template": {"name": "visit", "language": "?"}}, [("wrong_type", "/template/language")]),
]


@pytest.mark.parametrize(("facts", "expected"), FAULTS)
async def test_all_that_is_wrong_is_told_together(api: Api, facts: Any, expected: Any):
    await api.made()
    await api.made("long", {"default_language": "en", "languages": {"en": {"text": "x" * 2000}}})
    answer = await api.send(**facts)
    assert answer.status_code == 422, answer.text
    assert [(e["code"], e["pointer"]) for e in answer.json()["errors"]] == expected
    assert api.engine.held == {}


DEFINITIONS = [
    ({"languages": {}, "default_language": "en"}, "/definition/languages", "too_short"),
    (
        {"languages": {"en": {}}, "default_language": "en"},
        "/definition/languages/en/text",
        "required",
    ),
    ({**DEFINITION, "layout": 1}, "/definition/layout", "unknown_field"),
    (
        {**DEFINITION, "variables": {"name": {"type": "emoji"}}},
        "/definition/variables/name/type",
        "unknown_value",
    ),
    (changed("{{nobody}}"), "/definition/languages/en/text", "undeclared_variable"),
    (changed("{{name"), "/definition/languages/en/text", "template_syntax"),
    (
        {**DEFINITION, "default_language": "fr"},
        "/definition/default_language",
        "no_default_language",
    ),
]


@pytest.mark.parametrize(("definition", "pointer", "code"), DEFINITIONS)
async def test_a_definition_that_is_refused(api: Api, definition: Any, pointer: str, code: str):
    for path, body in (("", {"name": "bad", "definition": definition}),):
        answer = await api.call("POST", path, body)
        assert answer.status_code == 422, answer.text
        found = [(e["pointer"], e["code"]) for e in answer.json()["errors"]]
        assert (pointer, code) in found, found
    assert (await api.call("GET")).json()["data"] == []


NO_JSON = [
    rb'{"name": "\u0000"',
    rb'{"name": "\u0000", "definition": NaN}',
    b'{"name": "\\u0000 \xff"}',
    rb'{"name": "\u0000", "definition": ' + b"[" * 50_000,
]


@pytest.mark.parametrize("body", NO_JSON, ids=["broken off", "no number", "no UTF-8", "too deep"])
@pytest.mark.parametrize("path", ["", "/visit/versions"])
async def test_a_body_with_a_nul_that_is_no_json(api: Api, path: str, body: bytes):
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    answer = await api.client.post(f"/v1/templates{path}", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")


@pytest.mark.parametrize("name", ["", "Visit", "a b", "../x", "x" * 65, "é"])
async def test_a_name_that_is_refused(api: Api, name: str):
    answer = await api.call("POST", body={"name": name, "definition": DEFINITION})
    assert [e["pointer"] for e in answer.json()["errors"]] == ["/name"]


async def test_a_preview_shows_each_channel_and_the_segments(api: Api):
    await api.made()
    body = {"language": "da-DK", "variables": VALUES, "channels": ["sms", "email"]}
    answer = await api.call("POST", "/visit/render", body)
    assert answer.json() == {
        "name": "visit",
        "version": 1,
        "language": "da",
        "channels": {
            "sms": {
                "text": "Hej Anna, vi ses den 12. marts 2026.",
                "sms": {"encoding": "gsm7", "segments": 1},
            },
            "email": {"text": "Hej Anna, vi ses den 12. marts 2026."},
        },
    }
    assert api.engine.held == {}
    wrong = await api.call("POST", "/visit/render", {"variables": {}, "channels": ["sms"]})
    assert [e["pointer"] for e in wrong.json()["errors"]] == ["/variables/name", "/variables/day"]
    wrong = await api.call("POST", "/visit/render", {"channels": ["sms", "fax"]})
    assert [e["pointer"] for e in wrong.json()["errors"]] == ["/channels/1"]


async def test_the_list_names_languages_and_variables(api: Api):
    await api.made()
    [listed] = (await api.call("GET")).json()["data"]
    assert (listed["name"], listed["active"], listed["languages"]) == ("visit", 1, ["en", "da"])
    assert listed["variables"] == {"name": {"max_length": 20}, "day": {"type": "date"}}


async def test_a_repeated_request_keeps_the_version_of_the_first(api: Api):
    await api.made()
    body = {"to": {"sms": "+4520123456"}, "template": {"name": "visit", "variables": VALUES}}
    headers = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": "one"}
    first = await api.client.post("/v1/messages", json=body, headers=headers)
    await api.call("POST", "/visit/versions", {"definition": changed("x"), "activate": True})
    again = await api.client.post("/v1/messages", json=body, headers=headers)
    assert (again.status_code, again.json()) == (202, first.json())
    assert api.engine.held[first.json()["id"]].template == TemplateUse("visit", 1, "en")


async def test_a_version_that_is_good_no_longer_is_refused_by_name(api: Api):
    raw = {
        "default_language": "en",
        "variables": {"day": {"type": "date", "default": "1850-01-01"}},
        "languages": {"en": {"text": "{{day}}"}},
    }
    # As from before the bound on years, or when a time zone leaves the tables.
    TemplateStore(api.where).create("acme", "old", msgspec.convert(raw, Definition), "key:1")
    await api.made()
    answer = await api.send(template={"name": "old"}, to={"sms": "nobody"})
    assert answer.status_code == 422, answer.text
    assert [(e["code"], e["pointer"]) for e in answer.json()["errors"]] == [
        ("invalid_default", "/template"),
        ("not_a_number", "/to/sms"),
    ]
    answer = await api.call("POST", "/old/render", {})
    assert [e["code"] for e in answer.json()["errors"]] == ["invalid_default"]


CHANGES = [
    ("POST", "", {"name": "other", "definition": DEFINITION}),
    ("POST", "/visit/versions", {"definition": changed("x")}),
    ("POST", "/visit/activate", {"version": 1}),
    ("DELETE", "/visit", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_who_changes_too_much_is_told_to_come_later(
    api: Api, monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: Any
):
    monkeypatch.setattr("handlers.api.template_limits.CHANGES", Cap(1, 60))
    await api.made()
    answer = await api.call(method, path, body)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    looked = await api.call("GET", "/visit")
    assert (looked.status_code, looked.json()["active"]) == (200, 1)
    answer = await api.call("POST", body={"name": "visit", "definition": DEFINITION}, key=OTHER)
    assert answer.status_code == 201, "another tenant's changes are its own"


LIMITS = [
    ([(10, 120)], None),
    ([(10, 121)], "120 changes of templates in 60"),
    ([(LARGE, 10)], None),
    ([(LARGE, 11)], "10 changes of templates of 32,768 octets or more in 60"),
    ([(LARGE, 10), (LARGE - 1, 120)], None),
]


@pytest.mark.parametrize(("changes", "refusal"), LIMITS)
def test_how_many_changes_there_may_be(changes: list[tuple[int, int]], refusal: str | None):
    now = 0.0
    limits = TemplateLimits(lambda: now)

    def make() -> None:
        for octets, times in changes:
            for _ in range(times):
                limits.take("acme", octets)

    if refusal is None:
        make()
        limits.take("globex", LARGE)
        return
    with pytest.raises(Problem, match=refusal) as refused:
        make()
    assert refused.value.headers is not None
    now += int(refused.value.headers["Retry-After"])
    limits.take("acme", changes[-1][0])
