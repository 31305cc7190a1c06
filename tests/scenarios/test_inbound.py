"""Messages from people to a tenant's endpoint, whatever dies on the way."""

import json
from collections import Counter

import pytest

from adapters.store.tenants import webhook_secret
from tests.cascade.signature import verify
from tests.scenarios.driver import Driver
from tests.scenarios.tenant import Tenant
from tests.waiting import until

PERSON, NUMBER, SHARED = "4520100000", "4512345678", "1230"
LONG = "".join(chr(ord("a") + n % 26) for n in range(450))
PATIENCE = 3.0


@pytest.fixture(scope="module")
def tenant():
    tenant = Tenant()
    yield tenant
    tenant.close()


@pytest.fixture(scope="module")
def hermes(tmp_path_factory, tenant):
    """A stack of its own: it has routes, and a short patience for parts."""

    def route(number, who, path, keyword=None):
        return {"number": number, "keyword": keyword, "tenant": who, "url": tenant.url + path}

    routes = [
        route(f"+{NUMBER}", "acme", "/acme"),
        route(SHARED, "acme", "/acme", "JOIN"),
        route(SHARED, "globex", "/globex", "join globex"),
    ]
    settings = {"HERMES_INBOUND": json.dumps(routes), "HERMES_INBOUND_TIMEOUT": str(PATIENCE)}
    driver = Driver(tmp_path_factory.mktemp("inbound"), environment=settings)
    try:
        yield driver.start()
    finally:
        driver.close()


@pytest.fixture(autouse=True)
def forgotten(tenant):
    tenant.posts.clear()
    tenant.failures = 0


def say(hermes, text, *, to=NUMBER, source=PERSON, **more):
    """Have a person send a message."""
    body = {"source": source, "destination": to, "text": text, **more}
    hermes.http.post(f"{hermes.stack.smsc_url}/mo", json=body).raise_for_status()


def answered(hermes, count):
    """When the carrier has so many answers."""
    until(lambda: sum(hermes.smsc()["answers"]["mo"].values()) >= count)


def test_the_tenant_gets_a_signed_event(hermes, tenant):
    say(hermes, "Hej, blåbær €")
    path, headers, event = tenant.hears("Hej, blåbær €")
    assert path == "/acme"
    [(_, _, body)] = tenant.posts
    verify(webhook_secret(hermes.stack.data_dir / "hermes.db", "acme"), headers, body)
    data = event["data"]
    assert (event["type"], data["channel"]) == ("message.received", "sms")
    assert (data["from"], data["to"]) == (f"+{PERSON}", f"+{NUMBER}")
    assert (data["parts"], data["complete"]) == (1, True)


@pytest.mark.parametrize(
    ("text", "path"), [("join", "/acme"), ("Join!", "/acme"), ("JOIN Globex now", "/globex")]
)
def test_a_keyword_chooses_the_tenant(hermes, tenant, text, path):
    say(hermes, text, to=SHARED)
    assert tenant.hears(text)[0] == path


@pytest.mark.parametrize("parts", ["udh8", "udh16", "sar"])
@pytest.mark.parametrize("text", [LONG, "💙" * 80], ids=["gsm7", "ucs2"])
def test_parts_in_any_order_and_twice(hermes, tenant, parts, text):
    text = f"{parts} {text}"
    say(hermes, text, parts=parts, order=[3, 1, 3, 1, 2, 2])
    data = tenant.hears(text)[2]["data"]
    assert (data["parts"], data["complete"]) == (3, True)


def test_a_part_that_never_comes(hermes, tenant):
    say(hermes, LONG, order=[3, 1])
    data = tenant.hears(f"{LONG[:153]}…{LONG[306:]}")[2]["data"]
    assert (data["complete"], data["missing"]) == (False, [2])


def test_the_tenants_endpoint_is_down_for_a_while(hermes, tenant):
    tenant.failures = 1
    say(hermes, "once more")
    until(lambda: len(tenant.heard("once more")) == 2)
    assert len({headers["webhook-id"] for _, headers, _ in tenant.heard("once more")}) == 1


def test_the_pool_dies_between_the_parts(hermes, tenant):
    hermes.forget()
    text = f"killed {LONG}"
    say(hermes, text, order=[2], reference=77)
    answered(hermes, 1)
    binds = hermes.smsc()["binds"]
    hermes.kill("pool")
    hermes.wait_rebound(binds)
    say(hermes, text, order=[1, 3], reference=77)
    assert tenant.hears(text)[2]["data"]["complete"]


def test_restate_is_down(hermes, tenant):
    hermes.forget()
    with hermes.down("restate"):
        say(hermes, "meanwhile")
        answered(hermes, 1)
    tenant.hears("meanwhile", within=30)


def test_the_pool_dies_again_and_again(hermes, tenant):
    """Every message is told, and one that the carrier had to repeat is told once."""
    hermes.forget()
    texts = [f"{n} {LONG[: 1 + n % 2 * 200]}" for n in range(200)]
    for index, text in enumerate(texts):
        say(hermes, text, source=str(4520100000 + index))
        if index % 60 == 30:
            hermes.kill("pool")
    until(lambda: all(tenant.heard(text) for text in texts), within=60, pause=0.2)
    told = Counter(headers["webhook-id"] for _, headers, _ in tenant.posts)
    assert sorted(json.loads(body)["data"]["text"] for _, _, body in tenant.posts) == sorted(texts)
    assert set(told.values()) == {1}
