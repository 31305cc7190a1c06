"""Every operation of the API with another tenant's key and ids: nothing leaks.

The operations come from the OpenAPI document, so that one that is added is covered without a line,
or fails here for want of something to look for (`seeds.py`).
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.store.keys import create_key
from domain.tenancy import EVERYTHING, Scope
from tests.unit.isolation.seeds import BODIES, MARK, NUMBER, QUERIES, SEEDS, Ids
from tests.unit.isolation.world import ALICE, BOB, Answered, Operation, World, opened

GHOSTS = 3
"""What does not exist is asked for by so many names: first to settle what the request itself
changes, then twice, to see what differs between two answers in any case."""
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_LAST = {"GET": 0, "POST": 1, "PUT": 2, "PATCH": 3, "DELETE": 4}


@pytest.fixture
async def world(where, tmp_path, monkeypatch):
    async with opened(where, tmp_path / "data", monkeypatch) as world:
        yield world


async def seeded(world: World, who: str = ALICE) -> dict[str, Ids]:
    """One of each resource, by the path before the first parameter."""
    return {root: await seed(world, who, MARK) for root, seed in SEEDS.items()}


def root_of(operation: Operation) -> str:
    return operation.path.partition("/{")[0]


def with_ids(world: World) -> list[Operation]:
    """What a key may do to a thing that its path names. What takes things away comes last."""
    found = [each for each in world.operations if each.names and each.scopes]
    return sorted(found, key=lambda each: (_LAST[each.method], -len(each.names), each.path))


def ghost(ids: Ids, number: int) -> Ids:
    """Ids of the same shape that nobody has."""
    return {name: _another(text, number) for name, text in ids.items()}


def _another(text: str, number: int) -> str:
    if re.fullmatch(r"[\d.]+", text):
        return text  # a version's: it is the thing above it that is not there
    place = -1 - number
    letters = "345" if text[place].isdigit() else "BCD" if text[place].isupper() else "bcd"
    letter = letters[number] if letters[number] != text[place] else letters[number - 1]
    return f"{text[:place]}{letter}{text[place:][1:]}"


def body_of(world: World, operation: Operation, ids: Ids) -> Any:
    """A good body for the operation."""
    if str(operation) in BODIES:
        body = BODIES[str(operation)]
        return body(ids) if callable(body) else copy.deepcopy(body)
    if operation.media_type is None:
        return None
    content = operation.spec["requestBody"]["content"][operation.media_type]
    schema = content.get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    examples = world.document["components"]["schemas"].get(name, schema).get("examples")
    return copy.deepcopy(examples[0]) if examples else {}


async def asked(
    world: World, operation: Operation, who: str | None, ids: Ids, body: Any = None
) -> Answered:
    body = body_of(world, operation, ids) if body is None else body
    return await world.ask(
        operation.method,
        operation.at(ids),
        who,
        body,
        media_type=operation.media_type,
        query=QUERIES.get(str(operation)),
    )


def shown(answer: Answered, ids: Ids) -> Any:
    """An answer as it would be for any other ids."""
    text = answer.text
    for name, value in sorted(ids.items(), key=lambda item: -len(item[1])):
        text = text.replace(value, f"<{name}>")
    text = _MOMENT.sub("<moment>", text)
    try:
        return json.loads(text)
    except ValueError:
        return text


def differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Where two answers differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            if key not in one or key not in other:
                yield f"{path}/{key}"
            else:
                yield from differences(one[key], other[key], f"{path}/{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (first, second) in enumerate(zip(one, other, strict=True)):
            yield from differences(first, second, f"{path}/{index}")
    elif one != other:
        yield path


async def compare(
    world: World, operation: Operation, theirs: Ids, ask: Any
) -> tuple[list[str], Answered]:
    """What tells `theirs` from what does not exist, and the answer about theirs. `ask` makes the
    request for some ids.

    Now and then a request does something for all of them, as noting when a key was last used. So
    calls that differ are looked at once more: those of a leak differ every time.
    """
    found, answer = await compared(world, operation, theirs, ask)
    if any(": calls " in each for each in found):
        found, answer = await compared(world, operation, theirs, ask)
    return found, answer


async def compared(
    world: World, operation: Operation, theirs: Ids, ask: Any
) -> tuple[list[str], Answered]:
    """See `compare`: one look."""
    await ask(ghost(theirs, 0))
    answer = await ask(theirs)
    nobodys = [(ids, await ask(ids)) for ids in (ghost(theirs, 1), ghost(theirs, 2))]
    (first_ids, first), (second_ids, second) = nobodys
    found = []
    if answer.status != first.status:
        found.append(f"status {answer.status}, not {first.status}")
    if answer.headers.keys() != first.headers.keys():
        found.append(f"headers {answer.headers.keys() ^ first.headers.keys()}")
    always = set(differences(shown(first, first_ids), shown(second, second_ids)))
    found += [
        f"body at {place or 'the top'}: {answer.text} / {first.text}"
        for place in differences(shown(answer, theirs), shown(first, first_ids))
        if place not in always
    ]
    if answer.asked != first.asked and first.asked == second.asked:
        found.append(f"calls {answer.asked}, not {first.asked}")
    return [f"{operation}: {what}"[:1000] for what in found], answer


def leaks(world: World, answer: Answered, secrets: set[str], said: str) -> list[str]:
    """Which of alice's secrets are in an answer that did not have them from the request."""
    told = answer.text + repr(answer.headers)
    return [secret for secret in secrets if secret in told and secret not in said]


def secrets_of(things: dict[str, Ids]) -> set[str]:
    ids = {text for each in things.values() for text in each.values() if len(text) > 5}
    return {*ids, MARK, NUMBER.lstrip("+")}


async def test_anothers_thing_looks_exactly_like_none(world):
    """By status, headers, body, and by what it takes to find out."""
    things = await seeded(world)
    secrets = secrets_of(things)
    before = await owners_view(world, things)
    operations = with_ids(world)
    missing = {root_of(each) for each in operations} - SEEDS.keys()
    assert not missing, f"seeds.py makes none of these: {missing}"
    told: list[str] = []
    for operation in operations:
        theirs = {name: things[root_of(operation)][name] for name in operation.names}

        async def ask(ids: Ids, operation: Operation = operation) -> Answered:
            return await asked(world, operation, BOB, ids)

        found, answer = await compare(world, operation, theirs, ask)
        told += found
        said = json.dumps(theirs) + repr(body_of(world, operation, theirs))
        told += [f"{operation} shows {secret}" for secret in leaks(world, answer, secrets, said)]
    assert not told, "\n".join(told)
    after = await owners_view(world, things)
    changed = {
        path: (before[path], after[path])
        for path in before
        if set(differences(before[path][0], after[path][0]))
        - set(differences(before[path][0], before[path][1]))
    }
    assert changed == {}, "bob changed what is alice's"


async def test_the_owner_may_do_all_that(world):
    """So that what the test above compares are no two answers to a request that is wrong."""
    things = await seeded(world)
    failed = []
    for operation in with_ids(world):
        ids = {name: things[root_of(operation)][name] for name in operation.names}
        if operation.method == "DELETE":
            # What went before may have changed it.
            ids = {**ids, **await fresh(world, operation, ids)}
        answer = await asked(world, operation, ALICE, ids)
        if answer.status in (403, 404, 422) or answer.status >= 500:
            failed.append(f"{operation}: {answer.status} {answer.text}")
    assert not failed, "\n".join(failed)


async def fresh(world: World, operation: Operation, ids: Ids) -> Ids:
    answer = await asked(world, Operation("GET", operation.path, {"security": []}), ALICE, ids)
    return (
        ids if answer.status in (200, 405) else await SEEDS[root_of(operation)](world, ALICE, MARK)
    )


async def owners_view(world: World, things: dict[str, Ids]) -> dict[str, tuple[Any, Any]]:
    """All that alice can look at, twice."""
    found = {}
    for operation in world.operations:
        if operation.method != "GET" or not operation.scopes:
            continue
        ids = things.get(root_of(operation), {})
        if not set(operation.names) <= ids.keys():
            continue
        path = operation.at(ids)
        answers = [await world.ask("GET", path, ALICE) for _ in range(2)]
        found[path] = tuple(shown(answer, {}) for answer in answers)
    return found


async def test_what_a_tenant_lists_has_nothing_of_anothers(world):
    listing = [each for each in world.operations if each.method == "GET" and not each.names]
    before = {each.path: await world.ask("GET", each.path, BOB) for each in listing}
    things = await seeded(world)
    secrets = secrets_of(things)
    told = []
    for operation in listing:
        answer = await world.ask("GET", operation.path, BOB)
        told += [
            f"{operation} shows {secret}"
            for secret in leaks(world, answer, secrets, before[operation.path].text)
        ]
        changed = set(differences(shown(answer, {}), shown(before[operation.path], {})))
        changed -= {"/at", "/as_of", "/now"}
        told += [f"{operation} differs at {place}" for place in changed]
    assert not told, "\n".join(told)


async def test_naming_anothers_thing_anywhere_is_naming_none(world):
    """In a body and in a query: each text in it is each of alice's ids, and one that nobody has."""
    things = await seeded(world)
    mine = await seeded_by_bob(world)
    told: list[str] = []
    for operation in sorted(world.operations, key=lambda each: _LAST[each.method]):
        if not operation.scopes:
            continue
        at = {name: mine[root_of(operation)][name] for name in operation.names}
        for theirs, ask in references(world, operation, at, things):
            found, _ = await compare(world, operation, theirs, ask)
            told += found
            if operation.method == "DELETE" and operation.names:
                break
    assert not told, "\n".join(told)


async def seeded_by_bob(world: World) -> dict[str, Ids]:
    return {root: await seed(world, BOB, "bobs-own") for root, seed in SEEDS.items()}


def references(
    world: World, operation: Operation, at: Ids, things: dict[str, Ids]
) -> Iterator[tuple[Ids, Any]]:
    """Requests that name each of alice's things in each place that may hold a name."""
    body = body_of(world, operation, at)
    names = {
        text: {"ref": text} for ids in things.values() for text in ids.values() if len(text) > 5
    }
    for theirs in names.values():
        for place in leaves(body) if isinstance(body, dict) else ():

            async def in_body(ids: Ids, place: Any = place) -> Answered:
                changed = copy.deepcopy(body)
                put(changed, place, ids["ref"])
                return await asked(world, operation, BOB, at, changed)

            yield theirs, in_body
        for parameter in operation.spec.get("parameters", ()):
            if parameter["in"] != "query":
                continue

            async def in_query(ids: Ids, name: str = parameter["name"]) -> Answered:
                query = {**QUERIES.get(str(operation), {}), name: ids["ref"]}
                return await world.ask(
                    operation.method,
                    operation.at(at),
                    BOB,
                    body,
                    media_type=operation.media_type,
                    query=query,
                )

            yield theirs, in_query


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of the texts in a body."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    elif isinstance(value, str):
        yield path


def put(body: Any, place: tuple[Any, ...], text: str) -> None:
    for step in place[:-1]:
        body = body[step]
    body[place[-1]] = text


async def test_a_door_that_needs_no_key_does_not_tell_what_is_behind_it(world):
    """The providers' door: a webhook that nobody signed, for an adapter that is there or not."""
    things = await seeded(world)
    theirs = {"tenant": ALICE, "adapter": things["/v1/adapters"]["name"]}
    doors = [each for each in world.operations if each.names and not each.scopes]
    told: list[str] = []
    for operation in doors:
        if set(operation.names) != theirs.keys():
            continue

        async def ask(ids: Ids, operation: Operation = operation) -> Answered:
            return await world.ask(operation.method, operation.at({**ids, "tenant": ALICE}), None)

        # For one that is not there it asks whether it came a moment ago: providers call at once.
        found, _ = await compare(world, operation, theirs, ask)
        told += [each for each in found if not each.startswith(f"{operation}: calls")]
    assert not told, "\n".join(told)


async def test_no_tenants_key_opens_anything_of_the_operators(world):
    await seeded(world)
    assert len(world.admin_operations) >= 10
    for operation in world.admin_operations:
        ids = dict.fromkeys(operation.names, ALICE)
        for who, code in ((ALICE, "invalid_key"), (None, "missing_key")):
            answer = await world.ask(operation.method, operation.at(ids), who, {})
            assert (answer.status, json.loads(answer.text)["code"]) == (401, code), operation
            assert answer.asked == [], operation


async def test_every_operation_asks_for_a_scope_before_it_does_anything(world):
    closed = [each for each in world.operations if each.spec["security"]]
    assert all(len(each.scopes) == 1 for each in closed), "a route has one scope"
    known = {scope.value for scope in Scope}
    for scope in Scope:
        world.keys[scope.value] = create_key(world.where, ALICE, scopes=EVERYTHING - {scope})
    await until_known(world)
    for operation in closed:
        [scope] = operation.scopes
        assert scope in known, operation
        ids = dict.fromkeys(operation.names, "x")
        answer = await asked(world, operation, scope, ids)
        problem = json.loads(answer.text)
        assert (answer.status, problem["code"]) == (403, "scope_missing"), operation
        assert scope in problem["detail"]
        assert f'scope="{scope}"' in answer.headers["www-authenticate"]
        assert answer.asked == [], operation


async def until_known(world: World) -> None:
    from tests.waiting import eventually

    async def known() -> bool:
        answers = [await world.ask("GET", "/v1/messages", scope.value) for scope in Scope]
        return all(answer.status in (200, 403) for answer in answers)

    await eventually(known, within=5)


def test_every_scope_is_asked_for_somewhere(world):
    used = {scope for each in world.operations for scope in each.scopes}
    assert used == {scope.value for scope in Scope}
