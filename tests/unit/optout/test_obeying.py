"""What a command does to the tenant's list, and what is answered, once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from domain.inbound import InboundDelivery, InboundMessage, InboundRoute, delivery_of
from domain.message import Category
from domain.optout import Command, OptOutRules, read
from domain.suppression import Reason
from handlers.opt_outs import Obeyed, OptOuts
from tests.unit.suppression.conftest import World

ANNA, NUMBER = "+4520123456", "+4540404040"
AT = datetime(2026, 5, 1, 12, 10, tzinfo=UTC)


def wrote(
    text: str,
    *,
    source: str = ANNA,
    at: datetime = AT,
    number: str = "mo_1",
    missing: tuple[int, ...] = (),
    keyword: str | None = None,
) -> InboundDelivery:
    message = InboundMessage(
        number, "carrier", source, NUMBER, text, None, 1 + len(missing), missing, at, at
    )
    return delivery_of(message, InboundRoute(NUMBER, keyword, "acme", "https://acme.example/in"))


class People:
    """The handler's part that obeys, with a tenant's rules."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rules = OptOutRules()
        self.opt_outs = OptOuts(world.store, lambda tenant: self.rules, lambda: AT)

    async def write(self, text: str, **more) -> Obeyed | None:
        delivery = wrote(text, **more)
        said = self.opt_outs.command(delivery)
        return None if said is None else await self.opt_outs.obey(delivery, said)

    def reasons(self) -> list[Reason]:
        return [entry.reason for entry in self.world.store.page("acme", 10)]


@pytest.fixture
def people(world: World) -> People:
    return People(world)


async def test_stop_suppresses_and_is_answered(people: People):
    obeyed = await people.write("Stop!")
    assert obeyed is not None
    assert obeyed.command is Command.STOP
    [entry] = people.world.store.page("acme", 10)
    assert (entry.reason, entry.source) == (Reason.STOP, "mo_1")
    assert entry.categories == {Category.TRANSACTIONAL, Category.MARKETING}
    assert obeyed.reply is not None
    assert obeyed.reply.to == {"sms": ANNA}
    assert obeyed.reply.plan[0].sender == NUMBER
    assert read(obeyed.reply.content.text) is None


async def test_start_lifts_what_the_person_did_and_nothing_else(people: People):
    store = people.world.store
    store.put("acme", [store.entry("acme", "sms", ANNA, Reason.MANUAL)])
    await people.write("STOP")
    obeyed = await people.write("START", number="mo_2")
    assert obeyed is not None
    assert obeyed.reply is not None
    assert people.reasons() == [Reason.MANUAL]


async def test_help_is_answered_and_changes_nothing(people: People):
    obeyed = await people.write("HELP")
    assert obeyed is not None
    assert obeyed.reply is not None
    assert people.reasons() == []


async def test_a_second_stop_is_not_answered(people: People):
    await people.write("STOP")
    again = await people.write("STOP", number="mo_2")
    assert again == Obeyed(Command.STOP)


async def test_a_start_of_somebody_who_never_stopped_is_not_answered(people: People):
    assert await people.write("START") == Obeyed(Command.START)


async def test_a_handler_that_begins_again_answers_the_same_once(people: People):
    """It was killed after the list was changed, before that was written down."""
    first, second = await people.write("STOP"), await people.write("STOP")
    assert first == second
    assert first is not None
    assert first.reply_id is not None


async def test_a_machine_that_asks_for_help_all_day_gets_an_answer_an_hour(people: People):
    answers = [
        await people.write("HELP", at=AT + timedelta(minutes=minute), number=f"mo_{minute}")
        for minute in range(100)
    ]
    assert len({obeyed.reply_id for obeyed in answers if obeyed is not None}) == 2


async def test_the_tenant_decides_what_stop_ends(people: People):
    people.rules = OptOutRules(stop_blocks=frozenset(Category))
    await people.write("STOP")
    [entry] = people.world.store.page("acme", 10)
    assert entry.categories == set(Category)


async def test_a_tenant_that_keeps_its_own_commands(people: People):
    people.rules = OptOutRules(keywords=False)
    assert await people.write("STOP") == Obeyed()
    assert people.reasons() == []


async def test_a_tenant_that_answers_itself(people: People):
    people.rules = OptOutRules(replies=False)
    assert await people.write("STOP") == Obeyed(Command.STOP)
    assert people.reasons() == [Reason.STOP]


@pytest.mark.parametrize("source", ["1919", "ACME", "", "+45"])
async def test_nobody_who_could_be_left_alone(people: People, source):
    assert await people.write("STOP", source=source) == Obeyed()
    assert people.reasons() == []


async def test_the_middle_of_a_text_is_no_command(people: People):
    assert await people.write("STOP", missing=(1,)) is None


async def test_a_number_that_several_share(people: People):
    obeyed = await people.write("ACME STOP", keyword="acme")
    assert obeyed is not None
    assert obeyed.command is Command.STOP


# A number that several share


def shared(text: str, url: str = "", **more) -> InboundDelivery:
    """To a number of acme's and globex's, or of acme's own where there is a `url`."""
    delivery = wrote(text, **more)
    return msgspec.structs.replace(delivery, url=url, also=("globex", "initech"))


def everybody(people: People) -> dict[str, list[Reason]]:
    return {
        tenant: [entry.reason for entry in people.world.store.page(tenant, 10)]
        for tenant in ("acme", "globex", "initech")
    }


async def obeyed_by(people: People, rules: dict[str, OptOutRules], delivery: InboundDelivery):
    outs = OptOuts(people.world.store, lambda one: rules.get(one, OptOutRules()), lambda: AT)
    said = outs.command(delivery)
    assert said is not None
    return await outs.obey(delivery, said)


async def test_stop_ends_all_who_share_the_number_and_is_answered_once(people: People):
    obeyed = await obeyed_by(people, {}, shared("STOP"))
    assert everybody(people) == {key: [Reason.STOP] for key in ("acme", "globex", "initech")}
    assert obeyed.reply is not None
    assert obeyed.reply.content.text == f"{NUMBER}: Du får ikke flere beskeder fra os."
    assert await obeyed_by(people, {}, shared("STOP", number="mo_2")) == Obeyed(Command.STOP)


async def test_one_who_answers_is_found(people: People):
    rules = {"acme": OptOutRules(keywords=False), "globex": OptOutRules(replies=False)}
    obeyed = await obeyed_by(people, rules, shared("STOP"))
    assert everybody(people) == {"acme": [], "globex": [Reason.STOP], "initech": [Reason.STOP]}
    assert obeyed.reply is not None
    assert obeyed.reply.tenant == "initech"


async def test_a_numbers_own_tenant_answers_for_itself(people: People):
    own = {"acme": OptOutRules(stop_reply="Farewell.")}
    obeyed = await obeyed_by(people, own, shared("STOP", url="https://acme.example"))
    assert everybody(people) == {key: [Reason.STOP] for key in ("acme", "globex", "initech")}
    assert obeyed.reply is not None
    assert (obeyed.reply.tenant, obeyed.reply.content.text) == ("acme", "Farewell.")


async def test_a_handler_that_begins_again_answers_for_all_the_same_once(people: People):
    first = await obeyed_by(people, {}, shared("STOP"))
    assert await obeyed_by(people, {}, shared("STOP")) == first


async def test_start_lifts_nothing_of_those_who_share_the_number(people: People):
    await obeyed_by(people, {}, shared("STOP"))
    await obeyed_by(people, {}, shared("START", url="https://acme.example", number="mo_2"))
    assert everybody(people) == {"acme": [], "globex": [Reason.STOP], "initech": [Reason.STOP]}
