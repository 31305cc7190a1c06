"""`hermes templates`, and sending with one, against what the API answers."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.conftest import api, run  # noqa: F401

DEFINITION = {
    "default_language": "en",
    "variables": {
        "name": {},
        "day": {"type": "date"},
        "price": {"type": "money", "default": "0 EUR"},
    },
    "languages": {"en": {"text": "Hi {{name}}"}, "da": {"text": "Hej {{name}}"}},
}
SUMMARY = {
    "name": "visit",
    "active": 2,
    "languages": ["en", "da"],
    "variables": DEFINITION["variables"],
    "created_at": "2026-05-01T12:00:00Z",
    "changed_at": "2026-05-01T12:00:00Z",
}
VERSION = {
    "version": 2,
    "active": True,
    "languages": ["en", "da"],
    "created_at": "2026-05-01T12:00:00Z",
    "created_by": "key:abc",
}
VIEW = {
    "name": "visit",
    "active": 2,
    "created_at": "2026-05-01T12:00:00Z",
    "changed_at": "2026-05-01T12:00:00Z",
    "definition": DEFINITION,
    "versions": [VERSION, {**VERSION, "version": 1, "active": False}],
}
RENDERED = {
    "name": "visit",
    "version": 2,
    "language": "da",
    "channels": {
        "sms": {"text": "Hej Anna", "sms": {"encoding": "gsm7", "segments": 1}},
        "email": {"text": "Hej Anna", "subject": "Til Anna", "html": "<b>Anna</b>"},
    },
}


def test_the_list_names_types_and_what_may_be_left_out(api, run):  # noqa: F811
    api.answer("GET", "/v1/templates", 200, {"data": [SUMMARY]})
    result = run("templates", "list")
    assert result.exit_code == 0, result.output
    assert "visit" in result.output
    assert "name, day: date, price: money?" in result.output


def test_nothing_yet_says_how_to_begin(api, run):  # noqa: F811
    api.answer("GET", "/v1/templates", 200, {"data": []})
    assert "hermes templates example" in run("templates", "list").output


def test_the_example_is_a_definition(run):  # noqa: F811
    import msgspec

    from domain.templates.definition import Definition, compiled

    printed = json.loads(run("templates", "example").output)
    compiled(msgspec.convert(printed, Definition))


def test_a_definition_comes_from_a_file(api, run, tmp_path):  # noqa: F811
    file = tmp_path / "visit.json"
    file.write_text(json.dumps(DEFINITION))
    api.answer("POST", "/v1/templates", 201, VIEW)
    api.answer("POST", "/v1/templates/visit/versions", 201, {**VERSION, "active": False})
    made = run("templates", "create", "visit", str(file))
    assert made.output == "visit is made; version 2 is in use.\n"
    published = run("templates", "publish", "visit", str(file))
    assert "visit 2 is published." in published.output
    assert "hermes templates activate visit 2" in published.stderr
    assert [body for *_, body in api.requests] == [
        {"name": "visit", "definition": DEFINITION},
        {"definition": DEFINITION, "activate": False},
    ]


def test_a_file_that_is_no_json(run, tmp_path, api):  # noqa: F811
    file = tmp_path / "visit.json"
    file.write_text("{")
    result = run("templates", "create", "visit", str(file))
    assert result.exit_code == 1
    assert "is no JSON" in result.output
    assert api.requests == []


def test_a_preview_shows_what_each_channel_carries(api, run):  # noqa: F811
    api.answer("POST", "/v1/templates/visit/render", 200, RENDERED)
    result = run("templates", "render", "visit", "--set", "name=Anna", "--language", "da")
    for said in ("visit 2 in da", "1 segment, gsm7", "Hej Anna", "Til Anna", "<b>Anna</b>"):
        assert said in result.output
    [(*_, body)] = api.requests
    assert body == {"variables": {"name": "Anna"}, "language": "da"}


def test_a_template_shows_its_words_and_its_versions(api, run):  # noqa: F811
    api.answer("GET", "/v1/templates/visit", 200, VIEW)
    result = run("templates", "show", "visit")
    for said in ("version 2", "en  (default)", "Hej {{name}}", "active", "key:abc"):
        assert said in result.output


def test_a_removal_is_asked_for(api, run):  # noqa: F811
    result = run("templates", "remove", "visit")
    assert result.exit_code == 2
    assert api.requests == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "name=Anna"), "--set and --language go with a --template"),
        (("--template", "visit", "--text", "x"), "a --template says it all"),
        ((), "'--text', or '--template'"),
    ],
)
def test_how_a_message_is_not_sent(api, run, arguments, said):  # noqa: F811
    result = run("send", "--to", "sms=+4520123456", *arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_a_message_is_sent_with_a_template(api, run):  # noqa: F811
    api.answer("POST", "/v1/messages", 202, {"id": "msg_1", "status": "processing"})
    result = run(
        *("send", "--to", "sms=+4520123456", "--template", "visit"),
        *("--set", "name=Anna", "--language", "da-DK"),
    )
    assert result.exit_code == 0, result.output
    [(*_, body)] = api.requests
    assert body == {
        "to": {"sms": "+4520123456"},
        "template": {"name": "visit", "variables": {"name": "Anna"}, "language": "da-DK"},
    }
