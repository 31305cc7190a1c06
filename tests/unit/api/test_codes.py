"""Every code is documented, raised somewhere, and says what there is to do."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from domain.failures import FailureCode
from handlers.admin.problems import OPERATOR_PROBLEMS
from handlers.api import codes
from handlers.api.problems import FIELD_ERRORS, PROBLEMS
from infra.documents import DOCUMENTS, ROOT

FOLDERS = ("domain", "adapters", "handlers", "virtual_objects", "infra")
ALL = [code for section in codes.sections() for code in section.codes]
RAISED_BY = {"Problem", "OperatorProblem"}
# Tables that document codes, and lists that say which operation answers with which: not raising.
TABLES = {"CODES", "FIELD_ERRORS", "POLICIES", "ALWAYS"}


@cache
def sources() -> tuple[ast.Module, ...]:
    return tuple(
        ast.parse(path.read_text())
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
    )


def raising(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below one that are not in a table or in what an operation documents."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Assign, ast.AnnAssign)) and is_table(child):
            # The functions of a table's values may raise; its keys only document.
            continue
        if isinstance(child, ast.keyword) and child.arg == "problems":
            continue
        yield child
        yield from raising(child)


def is_table(node: ast.Assign | ast.AnnAssign) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return any(name in TABLES or name.endswith("PROBLEMS") for name in names)


@cache
def said() -> frozenset[str]:
    """Every text, and every member of FailureCode, that the code uses to say something."""
    found = set()
    for source in sources():
        for node in raising(source):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            if isinstance(node, ast.Attribute) and node.attr in FailureCode.__members__:
                found.add(FailureCode[node.attr].value)
    for table in (ROOT / "adapters").rglob("codes.json"):
        found |= set(texts(json.loads(table.read_text())))
    return frozenset(found)


def texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


@pytest.mark.parametrize("code", ALL, ids=lambda code: code.code)
def test_every_documented_code_is_raised_somewhere(code):
    assert code.code in said()


def test_every_problem_that_is_raised_is_documented():
    documented = set(PROBLEMS) | set(OPERATOR_PROBLEMS)
    for source in sources():
        for node in ast.walk(source):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Name) and called.id in RAISED_BY and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    assert first.value in documented


def test_every_error_in_a_field_is_documented():
    for source in sources():
        for node in ast.walk(source):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Name) and called.id == "FieldError":
                keyword = next((k.value for k in node.keywords if k.arg == "code"), None)
                first = node.args[0] if node.args else keyword
                if isinstance(first, ast.Constant):
                    assert first.value in FIELD_ERRORS


@pytest.mark.parametrize("code", ALL, ids=lambda code: code.code)
def test_every_code_says_what_it_means_and_what_to_do(code):
    assert code.meaning.endswith((".", "?"))
    assert code.remedy.endswith(".")


@pytest.mark.parametrize("code", codes.FIELD_REMEDIES)
def test_what_to_do_is_said_of_codes_that_there_are(code):
    assert code in FIELD_ERRORS


def test_every_code_of_a_verdict_is_documented():
    documented = {code.code for code in ALL}
    for source in sources():
        for node in ast.walk(source):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Name) and called.id == "Verdict" and len(node.args) > 2:
                code = node.args[2]
                if isinstance(code, ast.Constant):
                    assert code.value in documented


def test_a_code_of_two_layers_tells_of_both():
    meaning = FIELD_ERRORS["text_too_long"]
    assert "SMS" in meaning
    assert "WhatsApp" in meaning


def test_a_method_that_is_not_there_is_the_callers_fault():
    code = codes.code_of("method_not_allowed")
    assert code is not None
    assert codes.WHO[code.fault] == "you, who send"


def test_a_code_stands_for_one_thing():
    names = [code.code for code in ALL]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("table", [PROBLEMS, OPERATOR_PROBLEMS], ids=["tenants", "operators"])
def test_whether_a_conflict_passes_is_said_where_it_can(table):
    """A 409 that names no `Retry-After` must not be called passing by mistake."""
    for code, kind in table.items():
        assert kind.passes in (None, False) or kind.status == 409, code


@pytest.mark.parametrize("path", DOCUMENTS)
def test_the_document_is_the_code_s(path):
    assert Path(ROOT / path).read_text() == DOCUMENTS[path](), "run: make docs"


def test_the_page_has_every_code_as_an_anchor():
    page = codes.page()
    for code in ALL:
        assert f'id="{code.code}"' in page


async def test_the_page_is_served_to_everyone(world):
    page = await world.get("/problems", key=None)
    assert page.status_code == 200
    assert page.text == codes.page()
    assert "script" not in page.headers["content-security-policy"]
