"""Our pool against an SMSC that we did not write, and our simulator against such an ESME: a codec
shared by both sides shares its mistakes."""

import asyncio
import json
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import smpplib.client
import smpplib.consts
import smpplib.gsm

from domain.delivery import SubmissionState
from domain.failures import FailureCode
from domain.message import Level
from infra.local.stack import ROOT
from tests.waiting import eventually

NODE = shutil.which("node")


@pytest.fixture
async def node_smsc():
    """node-smpp as an SMSC: its port, and what it has read."""
    process = await asyncio.create_subprocess_exec(
        NODE, str(Path(__file__).with_name("smsc.js")), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    smsc = SimpleNamespace(port=int(await process.stdout.readline()), submits=[], enquired=0)

    async def read():
        while line := await process.stdout.readline():
            if "enquired" in (request := json.loads(line)):
                smsc.enquired += 1
            else:
                smsc.submits.append(request)

    reading = asyncio.ensure_future(read())
    yield smsc
    process.kill()
    await process.wait()
    await reading


@pytest.mark.parametrize("text", ["Hello", "early bird", "twice over"])
async def test_node_smsc_delivers(node_smsc, pool, request_for, text):
    hermes = await pool(node_smsc)
    answer = await hermes.deliver(request_for(text=text, sender="Bakery"))
    assert (answer.state, answer.provider_ids) == (SubmissionState.TAKEN, ("node-1",))
    await eventually(lambda: hermes.sink.resolved["ref_msg_1_1"])
    [heard] = hermes.sink.resolved["ref_msg_1_1"]
    assert (heard.level, heard.provider_status) == (Level.DELIVERED, "DELIVRD err:000")
    [submit] = node_smsc.submits
    assert (submit["text"], submit["to"], submit["from"]) == (
        (text, "4520100000", [5, 0, "Bakery"])
    )
    assert submit["reference"] is not None
    assert hermes.sink.reported == {}


async def test_node_smsc_does_not_deliver(node_smsc, pool, request_for):
    hermes = await pool(node_smsc)
    await hermes.deliver(request_for(text="undelivered"))
    await eventually(lambda: hermes.sink.resolved["ref_msg_1_1"])
    [heard] = hermes.sink.resolved["ref_msg_1_1"]
    assert heard.failure.code is FailureCode.RECIPIENT_UNREACHABLE


@pytest.mark.parametrize(
    ("text", "coding"),
    [("Your code is [1234] {€} æøå " * 10, 0), ("日本語 🫐 " * 30, 8)],
    ids=["gsm7", "ucs2"],
)
async def test_node_smsc_reads_the_parts_of_a_long_message(
    node_smsc, pool, request_for, text, coding
):
    hermes = await pool(node_smsc)
    answer = await hermes.deliver(request_for(text=text))
    await eventually(lambda: hermes.sink.resolved["ref_msg_1_1"])
    submits = node_smsc.submits
    assert "".join(submit["text"] for submit in submits) == text
    assert {submit["coding"] for submit in submits} == {coding}
    assert answer.provider_ids == tuple(submit["id"] for submit in submits)
    headers = [bytes.fromhex(submit["udh"][0]) for submit in submits]
    assert [header[-2:] for header in headers] == [
        bytes((len(submits), index + 1)) for index in range(len(submits))
    ]


async def test_node_smsc_is_asked_whether_it_is_there(node_smsc, pool, request_for):
    hermes = await pool(node_smsc, enquire_link_interval=0.05)
    await eventually(lambda: node_smsc.enquired >= 5)
    assert (hermes.binds_made, hermes.bound) == (1, True)
    assert (await hermes.deliver(request_for())).state is SubmissionState.TAKEN


async def test_node_smsc_refuses_the_password(node_smsc, pool):
    hermes = await pool(node_smsc, password="wrong", bound=False)
    await eventually(lambda: hermes.carrier.health().last_error)
    assert "ESME_RINVPASWD" in hermes.carrier.health().last_error


async def test_smpplib_is_served_by_the_simulator(smsc):
    simulator = await smsc()
    heard = []

    def converse():
        client = smpplib.client.Client(
            "127.0.0.1", simulator.port, timeout=5, allow_unknown_opt_params=True
        )
        client.set_message_sent_handler(lambda pdu: heard.append(("sent", pdu.message_id)))
        client.set_message_received_handler(lambda pdu: heard.append(("receipt", pdu)) and 0)
        client.connect()
        client.bind_transceiver(system_id="hermes", password="hermes")
        for payload in smpplib.gsm.make_parts("Blåbærgrød " * 20)[0]:
            client.send_message(
                source_addr="Bakery",
                source_addr_ton=smpplib.consts.SMPP_TON_ALNUM,
                destination_addr="4520100000",
                short_message=payload,
                esm_class=smpplib.consts.SMPP_MSGMODE_DEFAULT | smpplib.consts.SMPP_GSMFEAT_UDHI,
                registered_delivery=True,
            )
        while len(heard) < 4:
            client.read_once()
        client.unbind()
        client.disconnect()

    talking = threading.Thread(target=converse)
    talking.start()
    await eventually(lambda: not talking.is_alive())
    ids = [smsc_id.decode() for kind, smsc_id in heard if kind == "sent"]
    receipts = [pdu for kind, pdu in heard if kind == "receipt"]
    assert ids == [submit.message_id for submit in simulator.submits]
    assert [pdu.receipted_message_id.decode() for pdu in receipts] == ids
    assert all(b"stat:DELIVRD" in pdu.short_message for pdu in receipts)
    assert simulator.counters.receipts_acked == 2
