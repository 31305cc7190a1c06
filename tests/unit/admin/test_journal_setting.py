"""Where the pools keep their journal: a file, or an address whose password is never shown."""

import logging

import pytest

from adapters.smpp.store.journal import Journal
from infra.settings import ConfigurationError, load

NAME = "HERMES_SMPP_JOURNAL_URL"
RIGHT = "postgresql://user:password@host/database"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HERMES_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("HERMES_CONFIG", raising=False)


def test_without_an_address_it_is_a_file(tmp_path):
    assert load().smpp_journal == tmp_path / "data" / "smpp.db"


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://hermes:halibut@db.example/hermes",
        "postgres://hermes:hali%2Fbut@db.example:5432/hermes?sslmode=require",
        "postgresql://hermes:halibut@one.example:5432,two.example:5433/hermes",
        "postgresql://hermes:halibut@/hermes?host=/run/postgresql",
    ],
)
def test_an_address_is_kept_as_it_is_and_not_shown(monkeypatch, address):
    monkeypatch.setenv(NAME, address)
    settings = load()
    assert settings.smpp_journal == address
    assert "hali" not in repr(settings) + settings.model_dump_json()


def test_it_can_be_in_a_file(tmp_path, monkeypatch):
    file = tmp_path / "address"
    file.write_text(f"{RIGHT}\n")
    (tmp_path / "hermes.toml").write_text(f'smpp_journal_url = "file:{file}"')
    assert load().smpp_journal == RIGHT


@pytest.mark.parametrize(
    ("address", "right"),
    [
        ("", RIGHT),
        ("halibut.db", RIGHT),
        ("sqlite:///halibut.db", RIGHT),
        ("mysql://hermes:halibut@db/hermes", RIGHT),
        ("http://hermes:halibut@db/hermes", RIGHT),
        ("postgresql:///halibut", RIGHT),
        ("postgresql://hermes:halibut@db/hermes?hali=but", "not a valid postgresql"),
        ("postgresql://hermes:hali/but@db/hermes", "%2F"),
        ("postgresql://hermes:1/halibut@db/hermes", "%2F"),
        ("postgresql://hermes:halibut@db:hali/hermes", "%2F"),
    ],
)
def test_what_is_wrong_is_told_with_its_key_and_without_its_value(
    monkeypatch, tmp_path, address, right
):
    monkeypatch.setenv(NAME, address)
    with pytest.raises(ConfigurationError) as caught:
        load()
    told = str(caught.value)
    assert told.startswith("smpp_journal_url: ")
    assert right in told
    assert "hali" not in told
    assert "but" not in told


def test_a_server_that_is_not_there_is_told_without_the_password(monkeypatch, caplog):
    monkeypatch.setenv(NAME, "postgresql://hermes:halibut@127.0.0.1:1/hermes")
    with caplog.at_level(logging.DEBUG), pytest.raises(Exception, match="refused") as caught:
        Journal(load().smpp_journal)
    assert "halibut" not in str(caught.value) + caplog.text


async def test_the_journal_is_on_the_server_that_is_named(monkeypatch, postgres):
    monkeypatch.setenv(NAME, postgres)
    journal = Journal(load().smpp_journal)
    assert journal.shared
    await journal.close()
