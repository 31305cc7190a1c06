"""The simulator and an ESME that we did not write, node-smpp: a codec that both sides share would
hide its mistakes. And our session against node-smpp as an SMSC, which other tests use."""

import pytest

from adapters.smpp.protocol.constants import CommandStatus, MessageState
from adapters.smpp.protocol.pdu import BindTransceiver
from adapters.smpp.protocol.session import BindRefused, CloseReason
from infra.simulators.smsc import Options
from infra.simulators.smsc.__main__ import server_tls
from infra.simulators.smsc.kinds import StatusEvery
from tests.peers.node import node_esme, node_smsc
from tests.unit.simulators.esme import Esme, message

HELLO = {"source_addr": "HERMES", "destination_addr": "4520000000", "short_message": "hello"}


def only(heard, key):
    return [what for what in heard if key in what]


# -- node-smpp as an ESME -------------------------------------------------------------------------


async def test_a_whole_conversation(start):
    simulator, port, _ = await start()
    heard = await node_esme(port, messages=[{**HELLO, "user_message_reference": 515}], deliveries=1)
    assert heard[0] == {"bound": 0, "smsc": "simulator"}
    assert heard[-1] == {"unbound": 0}
    assert only(heard, "alive") == [{"alive": 0}]
    [answer] = only(heard, "id")
    [receipt] = only(heard, "command")
    assert answer["status"] == 0
    assert receipt["text"].startswith(f"id:{answer['id']} sub:001 dlvrd:001 submit date:")
    assert receipt["text"].endswith("stat:DELIVRD err:000 text:hello")
    assert (receipt["receipted"], receipt["state"]) == (answer["id"], MessageState.DELIVERED)
    assert (receipt["reference"], receipt["esm_class"]) == (515, 4)
    assert (receipt["from"], receipt["to"]) == ("4520000000", "HERMES")
    [link] = simulator.stats()["links"]
    assert (link["enquire_links"], link["why"]) == (1, "peer_unbound")
    assert simulator.counters.receipts_acked == 1


@pytest.mark.parametrize("receipt_format", ["text", "tlv", "payload", "data_sm"])
async def test_receipts_in_each_format(start, receipt_format):
    _, port, _ = await start(
        Options(receipt_format=receipt_format, intermediate=True, receipt_delay=0.02)
    )
    heard = await node_esme(port, messages=[HELLO], deliveries=2)
    [answer] = only(heard, "id")
    intermediate, receipt = only(heard, "command")
    assert (intermediate["esm_class"], receipt["esm_class"]) == (0x20, 0x04)
    assert receipt["command"] == ("data_sm" if receipt_format == "data_sm" else "deliver_sm")
    text = receipt["text"] if receipt_format == "text" else receipt.get("payload")
    if receipt_format == "tlv":
        assert not text
    else:
        assert text.startswith(f"id:{answer['id']} sub:001")
    if receipt_format in ("tlv", "data_sm"):
        assert (receipt["receipted"], receipt["state"]) == (answer["id"], 2)
        assert intermediate["state"] == MessageState.ENROUTE
    else:
        assert "receipted" not in receipt


async def test_errors_are_understood(start):
    _, port, _ = await start(Options(status_every=StatusEvery(2, 0x58)))
    heard = await node_esme(
        port, messages=[{**HELLO, "destination_addr": "4520009902"}, HELLO, HELLO], deliveries=1
    )
    statuses = [answer["status"] for answer in only(heard, "status")]
    assert statuses == [0, CommandStatus.ESME_RTHROTTLED, 0]


async def test_a_wrong_password_is_understood(start):
    _, port, _ = await start()
    heard = await node_esme(port, password="wrong")
    assert heard[0]["bound"] == CommandStatus.ESME_RINVPASWD


@pytest.mark.parametrize("how", ["udh8", "udh16", "sar"])
async def test_parts_of_a_message_are_understood(start, call, how):
    _, port, url = await start()
    text = "Blåbærgrød {med} fløde€ " * 10
    request = {"source": "4520100000", "destination": "1234", "text": text}
    _, answer = await call("POST", f"{url}/mo", {**request, "parts": how, "reference": 7})
    heard = only(await node_esme(port, deliveries=answer["queued"]), "command")
    assert "".join(part["text"] for part in heard) == text
    count = len(heard)
    for n, part in enumerate(heard, 1):
        if how == "sar":
            assert part["sar"] == [7, count, n]
        else:
            reference = "000307" if how == "udh8" else "08040007"
            assert part["udh"] == [f"{reference}{count:02x}{n:02x}"]


# -- TLS ------------------------------------------------------------------------------------------


@pytest.fixture
def trusting(authority):
    """A client's context that trusts the authority."""
    return authority.client_trust()


async def test_tls_with_either_esme(start, authority, certificate, trusting):
    _, port, _ = await start(tls=server_tls(certificate.chain, certificate.key))
    esme = await Esme().bind(port, tls=trusting)
    _, message_id = await esme.submit("4520000000")
    assert (await esme.receipt()).message_id == message_id
    heard = await node_esme(port, messages=[HELLO], deliveries=1, ca=str(authority.file))
    assert heard[-1] == {"unbound": 0}


async def test_tls_demands_a_client_certificate(start, authority, certificate, trusting):
    tls = server_tls(certificate.chain, certificate.key, authority.file)
    _, port, _ = await start(tls=tls)
    with pytest.raises(OSError, match=r"."):
        await Esme().bind(port, tls=trusting)
    client = authority.client("hermes")
    trusting.load_cert_chain(client.chain, client.key)
    assert (await Esme().bind(port, tls=trusting)).session.is_bound
    heard = await node_esme(
        port, ca=str(authority.file), cert=str(client.chain), key=str(client.key)
    )
    assert heard[0] == {"bound": 0, "smsc": "simulator"}


async def test_a_mute_simulator_is_mute_over_tls(start, call, certificate, trusting):
    simulator, port, url = await start(tls=server_tls(certificate.chain, certificate.key))
    esme = await Esme().bind(port, tls=trusting)
    await simulator.change({"mute": True})
    submit = esme.session.submit(message("4520009902"))
    # A round trip of the control port gives the simulator every chance to read.
    await call("GET", f"{url}/stats")
    assert not submit.done()
    await simulator.change({"mute": False})
    assert (await submit)[0] == 0


# -- node-smpp as an SMSC -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "state", "receipts"),
    [
        (b"hello", MessageState.DELIVERED, 1),
        (b"twice over", MessageState.DELIVERED, 2),
        (b"undelivered", MessageState.UNDELIVERABLE, 1),
        (b"data_sm", MessageState.DELIVERED, 1),
        (b"payload", MessageState.DELIVERED, 1),
        (b"tlv", MessageState.DELIVERED, 1),
        (b"early bird", MessageState.DELIVERED, 1),
    ],
)
async def test_node_smsc_is_understood(text, state, receipts):
    async with node_smsc() as smsc:
        esme = await Esme().bind(smsc.port)
        assert await esme.submit("4520000000", text) == (0, "node-1")
        for _ in range(receipts):
            receipt = await esme.receipt()
            assert (receipt.message_id, receipt.state) == ("node-1", state)
        told = await smsc.told_of("receipt", receipts)
        assert {answer["status"] for answer in told} == {0}
        first = "receipt" if text.startswith(b"early") else "response"
        assert esme.events[0] == first
        await esme.session.unbind()
        assert await smsc.told_of("unbound")
        assert esme.session.close_reason is CloseReason.UNBOUND


async def test_node_smsc_does_as_its_options_say():
    async with node_smsc(throttle=1, ids="hex", response_delay=20, receipt_delay=20) as smsc:
        esme = await Esme().bind(smsc.port)
        assert (await esme.submit("4520000000"))[0] == CommandStatus.ESME_RTHROTTLED
        status, message_id = await esme.submit("4520000000")
        assert (status, int(message_id, 16)) == (0, int((await esme.receipt()).message_id))
        assert (await esme.submit("4520000000", b"refused"))[0] == CommandStatus.ESME_RINVDSTADR
        await smsc.ask(source="4520100000", destination="1234", text="STOP")
        _, pdu = await esme.receipts.get()
        assert (pdu.source_addr, pdu.short_message) == ("4520100000", b"STOP")
        assert (await smsc.told_of("mo"))[0]["status"] == 0
        await smsc.ask(kill=True)
        assert await esme.session.closed is CloseReason.LOST
        with pytest.raises(BindRefused):
            await Esme().bind(smsc.port, BindTransceiver("hermes", "wrong"))


async def test_node_smsc_speaks_tls(authority, certificate, trusting):
    client = authority.client("hermes")
    async with node_smsc(
        cert=certificate.chain, key=certificate.key, client_ca=authority.file
    ) as smsc:
        with pytest.raises(OSError, match=r"."):
            await Esme().bind(smsc.port, tls=trusting)
        trusting.load_cert_chain(client.chain, client.key)
        esme = await Esme().bind(smsc.port, tls=trusting)
        assert await esme.submit("4520000000") == (0, "node-1")
        assert (await esme.receipt()).message_id == "node-1"
