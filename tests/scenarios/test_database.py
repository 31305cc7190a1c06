"""Everything on one PostgreSQL: tenants, keys, the message log, adapters and the pool's journal."""

import httpx
import pytest

from adapters.store.database import connect
from adapters.store.keys import create_key, revoke_key
from adapters.store.tenants import change_tenant, create_tenant
from infra.operator_key import known_operator_key
from infra.settings import Settings
from tests.scenarios.driver import Driver, mailbox, number, sms
from tests.waiting import until


@pytest.fixture(scope="module")
def hermes(postgres_server, tmp_path_factory):
    address = postgres_server.url(schema=postgres_server.new_schema())
    environment = {"HERMES_DATABASE_URL": address, "HERMES_SMPP_JOURNAL_URL": address}
    driver = Driver(tmp_path_factory.mktemp("postgres"), environment=environment)
    driver.address = address
    try:
        yield driver.start()
    finally:
        driver.close()


def operators(hermes, method, path, **more):
    settings = Settings(data_dir=hermes.stack.data_dir)
    headers = {"authorization": f"Bearer {known_operator_key(settings)}"}
    url = f"{hermes.stack.api_url}/admin/v1/{path}"
    return hermes.http.request(method, url, headers=headers, **more)


def test_a_message_is_delivered_and_listed_and_nothing_is_in_a_file(hermes):
    message = hermes.ended(hermes.send(sms(), to_sms=number(), text="on PostgreSQL"))
    assert message["status"] == "delivered"
    assert message["id"] in [listed["id"] for listed in hermes.listed()]
    mailed = hermes.ended(
        hermes.send({"channel": "email", "success": "sent"}, to_email=mailbox(), text="Hello")
    )
    assert mailed["status"] == "sent"
    assert not list(hermes.stack.data_dir.glob("*.db"))


def test_a_key_that_is_made_and_revoked_elsewhere_is_known_within_a_second(hermes):
    create_tenant(hermes.address, "initech")
    key = create_key(hermes.address, "initech")
    headers = {"authorization": f"Bearer {key}"}
    url = f"{hermes.stack.api_url}/v1/messages"

    def status() -> int:
        return hermes.http.get(url, headers=headers).status_code

    until(lambda: status() == 200, within=1)
    revoke_key(hermes.address, key.split("_")[1])
    until(lambda: status() == 401, within=1)


def test_a_suspended_tenant_sends_nothing_and_looks_at_what_it_sent(hermes):
    message_id = hermes.send(sms(), to_sms=number(), text="before")
    hermes.ended(message_id)
    changed = operators(hermes, "PATCH", "tenants/acme", json={"suspended": True})
    assert changed.status_code == 200, changed.text
    body = hermes.order(sms(), to_sms=number(), text="suspended")

    def refused() -> bool:
        answer = hermes.request("POST", "/v1/messages", json=body)
        return (answer.status_code, answer.json().get("code")) == (403, "tenant_suspended")

    until(refused, within=1)
    assert hermes.message(message_id)["status"] == "delivered"
    change_tenant(hermes.address, "acme", {"suspended": None})
    until(lambda: hermes.request("POST", "/v1/messages", json=body).status_code == 202, within=1)


def test_every_change_is_in_the_audit_log(hermes):
    operators(hermes, "POST", "tenants", json={"id": "hooli"})
    lines = operators(hermes, "GET", "audit", params={"tenant": "hooli"}).json()["entries"]
    assert [line["action"] for line in lines] == ["tenant.create"]


def test_hermes_goes_on_when_the_server_was_away(hermes, postgres_server):
    """Keys and settings are in memory; what has to be stored waits until it can be."""
    postgres_server.stop()
    try:
        answer = hermes.request("GET", "/v1/messages")
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert answer.headers["retry-after"]
    finally:
        postgres_server.start()

    def sent():
        try:
            return hermes.send(sms(), to_sms=number(), text="after")
        except (AssertionError, httpx.HTTPError):
            return None

    assert hermes.ended(until(sent, within=20), within=40)["status"] == "delivered"
    connect(hermes.address).close()
