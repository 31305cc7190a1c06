"""What a tenant and the operator do with their lists, and what messages then do."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from adapters.store.change import change, looking
from adapters.suppression import jobs as import_jobs
from adapters.suppression.jobs import carry_out
from domain.delivery import DeliveryRequest
from domain.message import Category, Content
from domain.suppression import RULES, Reason
from tests.fakes import FakeClock
from tests.unit.suppression.api import ACME, GLOBEX, OPERATOR, PUBLIC, Api, serve
from tests.unit.suppression.conftest import SECRET, World
from tests.waiting import eventually

ANNA = "+4520123456"
MAIL = "anna@example.com"
WHO = {"channel": "sms", "address": ANNA}
PATH = "/v1/suppressions"
ADMIN = "/admin/v1/suppressions"


@pytest.fixture
async def api(world: World):
    api = serve(world)
    yield api
    await api.close()


async def test_who_is_on_the_list_gets_nothing_and_who_is_taken_off_does(api: Api):
    assert (await api.send()).status_code == 202
    added = await api.ask("POST", PATH, WHO)
    assert added.status_code == 201
    assert added.json()["address"] == "+45*****56"
    refused = await api.send()
    assert (refused.status_code, refused.json()["code"]) == (422, "recipient_suppressed")
    removed = await api.ask("DELETE", f"{PATH}/{added.json()['id']}")
    assert removed.json() == {"id": added.json()["id"], "reasons": ["manual"]}
    assert (await api.send()).status_code == 202


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("category", Category)
async def test_a_reason_blocks_its_categories_and_no_other(api: Api, reason, category):
    entry = api.desk.store.entry("acme", "sms", ANNA, reason)
    api.desk.store.put("acme", [entry])
    api.desk.lists.refresh()
    answer = await api.send(category=category.value)
    blocked = category in RULES[reason].categories
    assert answer.status_code == (422 if blocked else 202), answer.json()
    if blocked:
        assert answer.json()["code"] == "recipient_suppressed"
        assert RULES[reason].meaning in answer.json()["detail"]


async def test_a_suppressed_channel_leaves_the_plan_and_the_verdict_says_so(api: Api):
    await api.ask("POST", PATH, WHO)
    body = {"to": {"sms": ANNA, "email": MAIL}, "content": {"text": "Hello"}}
    answer = await api.ask("POST", "/v1/messages", body)
    assert answer.status_code == 202
    order = api.engine.held[answer.json()["id"]]
    assert [step.channel for step in order.plan] == ["email"]
    [verdict] = [verdict for verdict in order.verdicts if verdict.layer == "dnc"]
    assert verdict.code == "recipient_suppressed"
    assert verdict.detail is not None
    assert verdict.detail.startswith("sms: ")
    assert ANNA not in verdict.detail


async def test_a_batch_refuses_only_those_who_are_on_the_list(api: Api):
    await api.ask("POST", PATH, WHO)
    messages = [
        {"to": {"sms": address}, "content": {"text": "Hello"}} for address in (ANNA, "+4520123457")
    ]
    answer = await api.ask("POST", "/v1/messages/batch", {"messages": messages})
    first, second = answer.json()["results"]
    assert first["problem"]["code"] == "recipient_suppressed"
    assert "message" in second


async def test_a_tenants_list_is_its_own(api: Api):
    added = (await api.ask("POST", PATH, WHO)).json()
    assert (await api.send(key=GLOBEX)).status_code == 202
    assert (await api.ask("GET", PATH, key=GLOBEX)).json()["data"] == []
    theirs = await api.ask("DELETE", f"{PATH}/{added['id']}", key=GLOBEX)
    none = await api.ask("DELETE", f"{PATH}/sup_0000000000001", key=GLOBEX)
    garbage = await api.ask("DELETE", f"{PATH}/nothing", key=GLOBEX)
    assert theirs.status_code == 404
    assert theirs.content == none.content == garbage.content
    found = await api.ask("POST", f"{PATH}/lookup", WHO, key=GLOBEX)
    assert found.json()["blocked"] == []
    assert (await api.send()).status_code == 422


async def test_the_operators_list_holds_for_all_and_is_nobodys_to_change(api: Api):
    added = await api.ask("POST", ADMIN, WHO, key=OPERATOR)
    assert added.status_code == 201
    for key in (ACME, GLOBEX):
        assert (await api.send(key=key)).status_code == 422
        found = (await api.ask("POST", f"{PATH}/lookup", WHO, key=key)).json()
        assert found["by_operator"]
        assert (found["entries"], found["blocked"]) == ([], [c.value for c in Category])
        gone = await api.ask("DELETE", f"{PATH}/{added.json()['id']}", key=key)
        assert gone.status_code == 404
    await api.ask("DELETE", f"{ADMIN}/{added.json()['id']}", key=OPERATOR)
    assert (await api.send()).status_code == 202


async def test_the_operator_changes_a_tenants_list(api: Api):
    await api.ask("POST", ADMIN, {**WHO, "tenant": "acme"}, key=OPERATOR)
    assert (await api.send()).status_code == 422
    assert (await api.send(key=GLOBEX)).status_code == 202
    listed = await api.ask("GET", f"{ADMIN}?tenant=acme", key=OPERATOR)
    assert [entry["reason"] for entry in listed.json()["data"]] == ["manual"]


async def test_pages_of_the_list(api: Api):
    for last in range(5):
        await api.ask("POST", PATH, {"channel": "sms", "address": f"+452012345{last}"})
    seen, cursor = [], ""
    while cursor is not None:
        page = (await api.ask("GET", f"{PATH}?limit=2{cursor and '&cursor=' + cursor}")).json()
        seen += [entry["id"] for entry in page["data"]]
        cursor = page["next_cursor"]
    assert len(seen) == len(set(seen)) == 5


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        (PATH, {"channel": "fax", "address": ANNA}, "unknown_channel"),
        (PATH, {"channel": "sms", "address": "20123456"}, "not_a_number"),
        (PATH, {"channel": "email", "address": "anna"}, "invalid_email_address"),
        (PATH, {"channel": "sms"}, "required"),
        (PATH, {**WHO, "categories": []}, "too_short"),
        (PATH, {**WHO, "categories": ["spam"]}, "unknown_value"),
        (PATH, {**WHO, "reason": "stop"}, "unknown_field"),
        (f"{PATH}/lookup", {"channel": "sms", "address": ""}, "too_short"),
    ],
)
async def test_a_body_that_is_wrong(api: Api, path, body, code):
    answer = await api.ask("POST", path, body)
    assert answer.status_code == 422
    assert [fault["code"] for fault in answer.json()["errors"]] == [code]


@pytest.mark.parametrize("cursor", ["x", "e30", "WzEsMiwzXQ", "WzEsLTEsInN0b3AiXQ", "%00", "é"])
async def test_a_cursor_that_is_none(api: Api, cursor):
    answer = await api.ask("GET", f"{PATH}?cursor={cursor}")
    assert answer.status_code in (400, 422)


async def upload(api: Api, text: bytes, query: str = "channel=sms", key: str = ACME, path=PATH):
    return await api.ask(
        "POST",
        f"{path}/imports?{query}",
        key=key,
        content=text,
        headers={"Content-Type": "text/csv"},
    )


async def imported(api: Api, answer, path: str = PATH, key: str = ACME):
    async def ended():
        found = (await api.ask("GET", f"{path}/imports/{answer.json()['id']}", key=key)).json()
        return None if found["status"] == "running" else found

    found = await eventually(ended, within=30, pause=0.05)
    await asyncio.to_thread(api.desk.lists.refresh)
    return found


async def test_an_import_refuses_lines_and_takes_the_others(api: Api):
    text = (
        "\ufeffPhone,Name\r\n"
        "+4520123456,Anna\r\n"
        '"+4520123457",Bo\r\n'
        "\r\n"
        " +4520123458 \r\n"
        "20123459\r\n"
        "+4520123456,Anna again\r\n"
        f"{'9' * 10_000}\r\n"
        "+4520123460"
    ).encode()
    answer = await upload(api, text)
    assert answer.status_code == 202
    found = await imported(api, answer)
    assert found["status"] == "done"
    assert (found["lines"], found["added"], found["refused"]) == (5, 4, 2)
    assert [(f["line"], f["code"]) for f in found["faults"]] == [
        (6, "not_a_number"),
        (8, "not_a_number"),
    ]
    for last, status in [("56", 422), ("57", 422), ("58", 422), ("59", 202), ("60", 422)]:
        assert (await api.send(f"+45201234{last}")).status_code == status, last
    again = await imported(api, await upload(api, text))
    assert (again["lines"], again["added"]) == (5, 0)
    assert (await api.ask("GET", PATH)).json()["data"] == []


async def test_a_large_import_is_in_use_when_it_is_done(api: Api, world: World):
    text = "".join(f"+45{20_100_000 + n}\n" for n in range(25_000)).encode()
    found = await imported(api, await upload(api, text, "channel=sms&category=marketing"))
    assert found["added"] == 25_000
    for address in ("+4520100000", "+4520124999"):
        answer = await api.send(address, category="marketing")
        assert answer.json()["code"] == "recipient_suppressed"
    assert (await api.send("+4520124999")).status_code == 202
    assert api.desk.lists.value.image.count == 25_000


async def test_an_import_is_its_tenants_own(api: Api):
    answer = await upload(api, b"+4520123456\n")
    theirs = await api.ask("GET", f"{PATH}/imports/{answer.json()['id']}", key=GLOBEX)
    none = await api.ask("GET", f"{PATH}/imports/imp_00000000000000000000", key=GLOBEX)
    assert (theirs.status_code, theirs.content) == (404, none.content)
    await imported(api, answer)
    assert (await api.send(key=GLOBEX)).status_code == 202


async def test_an_import_of_the_operator(api: Api):
    answer = await upload(api, b"+4520123456\n", key=OPERATOR, path=ADMIN)
    assert (await imported(api, answer, ADMIN, OPERATOR))["added"] == 1
    assert (await api.send(key=GLOBEX)).status_code == 422


async def test_an_import_that_broke_off_is_taken_up_again(api: Api, world: World, monkeypatch):
    """Its process was killed; the file is still there."""
    monkeypatch.setattr("adapters.suppression.jobs.subprocess.Popen", _Dead)
    answer = await upload(api, b"+4520123456\n")
    monkeypatch.undo()
    monkeypatch.setattr("adapters.suppression.jobs._SILENT", 0.0)
    await asyncio.to_thread(api.desk.jobs.recover)
    assert (await imported(api, answer))["added"] == 1
    assert (await api.send()).status_code == 422


async def test_one_import_at_a_time(api: Api, monkeypatch):
    monkeypatch.setattr("adapters.suppression.jobs.subprocess.Popen", _Dead)
    assert (await upload(api, b"+4520123456\n")).status_code == 202
    busy = await upload(api, b"+4520123457\n")
    assert (busy.status_code, busy.json()["code"]) == (409, "import_busy")
    assert len(files_of(api)) == 1


async def test_an_upload_that_has_no_place_is_refused_unread(api: Api, monkeypatch):
    monkeypatch.setattr("adapters.suppression.jobs.subprocess.Popen", _Dead)
    assert (await upload(api, b"+4520123456\n")).status_code == 202
    read = []

    async def text():
        for line in range(3):
            read.append(line)
            yield b"+4520123457\n"

    assert (await upload(api, text())).json()["code"] == "import_busy"
    assert read == []


async def test_an_upload_that_breaks_off_leaves_neither_file_nor_place(api: Api):
    async def text():
        yield b"+4520123457\n"
        raise OSError("the line is cut")

    with contextlib.suppress(OSError):
        assert (await upload(api, text())).status_code == 500
    assert files_of(api) == []
    assert (await imported(api, await upload(api, b"+4520123456\n")))["added"] == 1


async def test_a_file_that_comes_slowly_keeps_its_place(api: Api, world: World, monkeypatch):
    monkeypatch.setattr("handlers.api.suppression_requests.KEEP_EVERY", 0.0)
    heard = []

    async def text():
        for last in range(3):
            yield f"+452012345{last}\n".encode()
            with looking(world.where) as database:
                row = database.execute("SELECT updated_at FROM suppression_imports").fetchone()
            heard.append(row[0])

    assert (await imported(api, await upload(api, text())))["added"] == 3
    assert sorted(set(heard))[1:] != []


def files_of(api: Api) -> list[str]:
    return sorted(path.name for path in api.desk.jobs.file("x").parent.glob("imp_*"))


async def test_a_failed_import_leaves_no_addresses_behind(api: Api, world: World, monkeypatch):
    monkeypatch.setattr("adapters.suppression.jobs.subprocess.Popen", _Dead)
    job = (await upload(api, b"+4520123456\n")).json()["id"]
    assert files_of(api) == [f"{job}.csv"]

    def locked(*_arguments):
        raise OSError("the database is locked")

    monkeypatch.setattr("adapters.suppression.jobs.import_file", locked)
    with pytest.raises(OSError, match="locked"):
        await asyncio.to_thread(carry_out, world.where, world.directory / "one", SECRET, job)
    assert (await api.ask("GET", f"{PATH}/imports/{job}")).json()["status"] == "failed"
    assert files_of(api) == []


@pytest.mark.parametrize("second", ["later", "at the same time"])
async def test_an_import_that_two_processes_take_up_is_done_once(
    api: Api, world: World, monkeypatch, second: str
):
    monkeypatch.setattr("adapters.suppression.jobs.subprocess.Popen", _Dead)
    job = (await upload(api, b"+4520123456\n")).json()["id"]
    task = (world.where, world.directory / "one", SECRET, job)
    if second == "later":
        await asyncio.to_thread(carry_out, *task)
    else:
        do = import_jobs.open_lists

        def slower(*arguments):
            monkeypatch.undo()
            carry_out(*task)
            return do(*arguments)

        monkeypatch.setattr("adapters.suppression.jobs.open_lists", slower)
    with contextlib.suppress(FileNotFoundError):
        await asyncio.to_thread(carry_out, *task)
    found = (await api.ask("GET", f"{PATH}/imports/{job}")).json()
    assert (found["status"], found["added"]) == ("done", 1)
    assert files_of(api) == []


@pytest.mark.parametrize(
    ("status", "silent_for", "left"),
    [
        ("running", 0, [".csv", ".part"]),
        # It is taken up again; what was coming does not come any more.
        ("running", 3_600, [".csv"]),
        # Its machine will not come back.
        ("running", 100_000, []),
        ("done", 0, []),
        ("failed", 0, []),
        (None, 0, []),
    ],
)
async def test_files_that_were_left_behind_are_removed(
    api: Api, world: World, status, silent_for, left
):
    jobs = api.desk.jobs
    job = jobs.new_id()
    if status is not None:
        await asyncio.to_thread(
            jobs.reserve, job, "acme", "sms", RULES[Reason.MANUAL].categories, ""
        )
        with change(world.where) as database:
            database.execute(
                "UPDATE suppression_imports SET status = ?, updated_at = ?",
                (status, time.time() - silent_for),
            )
    jobs.file(job).touch()
    jobs.coming(job).touch()
    other = jobs.file(job).parent / "00000000000000000001.image"
    other.touch()
    await asyncio.to_thread(jobs.tidy)
    assert files_of(api) == [job + suffix for suffix in left]
    assert other.exists()


@pytest.mark.parametrize(
    ("query", "content_type", "text", "code"),
    [
        ("channel=fax", "text/csv", b"x", "validation_failed"),
        ("", "text/csv", b"x", "validation_failed"),
        ("channel=sms&category=spam", "text/csv", b"x", "validation_failed"),
        ("channel=sms&color=red", "text/csv", b"x", "validation_failed"),
        ("channel=sms", "application/json", b"x", "unsupported_media_type"),
        ("channel=sms", "text/csv", b"", "body_required"),
    ],
)
async def test_an_upload_that_is_wrong(api: Api, query, content_type, text, code):
    answer = await api.ask(
        "POST",
        f"{PATH}/imports?{query}",
        content=text,
        headers={"Content-Type": content_type},
    )
    assert answer.json()["code"] == code
    assert files_of(api) == []


class _Dead:
    """A process that was killed as soon as it began."""

    def __init__(self, *_args, **_options) -> None:
        self.stdin = self

    def write(self, _data: bytes) -> None:
        pass

    def close(self) -> None:
        pass

    def poll(self) -> int:
        return -9


def request_to(address: str, category: Category = Category.MARKETING) -> DeliveryRequest:
    return DeliveryRequest(
        message="msg_01JG3T5C8VE7Q9X2B4N6M8P0RS",
        attempt=1,
        tenant="acme",
        to=address,
        content=Content("Buy!"),
        receipt_ref="",
        not_after=FakeClock().now,
        category=category,
    )


async def mail(api: Api, **more):
    return await api.ask(
        "POST", "/v1/messages", {"to": {"email": MAIL}, "content": {"text": "Hello"}, **more}
    )


async def test_one_click_ends_marketing_and_a_look_does_not(api: Api):
    link = api.desk.links.of(request_to("Anna@example.com"), "email")
    assert link is not None
    path = link.removeprefix(PUBLIC)
    assert "anna" not in link.lower()
    looked = await api.client.get(path)
    assert looked.status_code == 200
    assert '<form method="post">' in looked.text
    assert "a***@e***.com" in looked.text
    assert (await mail(api, category="marketing")).status_code == 202
    for _ in range(2):
        posted = await api.client.post(path, data={"List-Unsubscribe": "One-Click"})
        assert posted.status_code == 200
        assert "<form" not in posted.text
    assert (await mail(api, category="marketing")).json()["code"] == "recipient_suppressed"
    assert (await mail(api)).status_code == 202
    [entry] = (await api.ask("GET", PATH)).json()["data"]
    assert (entry["reason"], entry["categories"]) == ("unsubscribe", ["marketing"])
    assert entry["source"] == "msg_01JG3T5C8VE7Q9X2B4N6M8P0RS"


async def test_the_page_speaks_the_readers_language_and_names_the_tenant(api: Api):
    link = api.desk.links.of(request_to(MAIL), "email")
    answer = await api.client.get(
        link.removeprefix(PUBLIC), headers={"Accept-Language": "nb-NO,da;q=0.8"}
    )
    assert 'lang="no"' in answer.text
    assert "acme" in answer.text
    assert "script" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_link_that_is_not_ours(api: Api, method):
    path = api.desk.links.of(request_to(MAIL), "email").removeprefix(PUBLIC)
    changed = path[:-1] + ("A" if path[-1] != "A" else "B")
    for wrong in (changed, path[:-8], "/unsubscribe/x", "/unsubscribe/" + "A" * 2000):
        answer = await api.client.request(method, wrong)
        assert answer.status_code == 404, wrong
        assert answer.json()["code"] == "invalid_unsubscribe_link"
    assert (await api.ask("GET", PATH)).json()["data"] == []


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_person_whose_link_was_cut_off_reads_a_page(api: Api, method):
    path = api.desk.links.of(request_to(MAIL), "email").removeprefix(PUBLIC)[:-8]
    accepted = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Language": "da"}
    answer = await api.client.request(method, path, headers=accepted)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "Linket er ikke helt" in answer.text
    assert "<form" not in answer.text
    assert "script" not in answer.headers["content-security-policy"]
    program = await api.client.request(method, path, headers={"Accept": "*/*"})
    assert program.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("category", [Category.OTP, Category.TRANSACTIONAL])
async def test_only_marketing_by_email_has_a_link(api: Api, category):
    assert api.desk.links.of(request_to(MAIL, category), "email") is None
    assert api.desk.links.of(request_to(ANNA), "sms") is None
