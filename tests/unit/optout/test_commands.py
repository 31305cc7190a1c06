"""STOP, START and HELP are understood in every language, and nothing else is taken for them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.inbound import InboundMessage, InboundRoute, Routes
from domain.optout import (
    KEYWORDS,
    REPLIES,
    Command,
    OptOutRules,
    Said,
    addressed,
    farewell,
    language,
    read,
)
from domain.sms.segmentation import count_segments

ALL = [
    (tongue, command, word)
    for tongue, commands in KEYWORDS.items()
    for command, words in commands.items()
    for word in words
]


@pytest.mark.parametrize(("tongue", "command", "word"), ALL)
@pytest.mark.parametrize(
    "written", ["{}", " {}! ", "“{}”", "({}).", "{}\n", "{} !", "«\xa0{}\xa0»", "{} 🙏", "- {} :)"]
)
def test_every_word_however_it_is_written(tongue, command, word, written):
    for spelling in (word, word.lower(), word.title()):
        said = read(written.format(spelling))
        assert said is not None, spelling
        assert said.command is command
        assert tongue in said.languages


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("ARRÊT", Command.STOP),
        ("arrêter.", Command.STOP),
        ("ＳＴＯＰ", Command.STOP),  # noqa: RUF001
        ("Désabonner", Command.STOP),
        ("Opt-Out", Command.STOP),
        ("stop   all", Command.STOP),
        ("rezygnuje", Command.STOP),
        ("avanmal", Command.STOP),
        ("début", None),
        ("STOP " + "! " * 8, Command.STOP),
        ("STOP " + "! " * 1000, None),
        ("STOP ? 1", None),
        ("Stop by on Friday", None),
        ("Please stop", None),
        ("stopped", None),
        ("Yes", None),
        ("No", None),
        ("", None),
        ("👍", None),
        ("!", None),
        ("stop " * 500, None),
        ("STOP\0", Command.STOP),
    ],
)
def test_what_is_a_command_and_what_is_none(text, command):
    said = read(text)
    assert (None if said is None else said.command) is command


@pytest.mark.parametrize("text", ["ACME STOP", "acme stop!", "Stop Acme", "STOP"])
def test_the_keyword_of_a_shared_number_may_stand_beside_it(text):
    said = read(text, "ACME")
    assert said is not None
    assert said.command is Command.STOP


def test_a_route_whose_keyword_is_the_command():
    said = read("Stop.", "STOP")
    assert said is not None
    assert said.command is Command.STOP


@pytest.mark.parametrize("text", ["ACME", "globex stop", "acme stop acme", "acme please stop"])
def test_and_nothing_else(text):
    assert read(text, "ACME") is None


@pytest.mark.parametrize("tongue", KEYWORDS)
@pytest.mark.parametrize("command", Command)
def test_a_reply_is_one_segment_says_what_works_and_is_no_command(tongue, command):
    text = REPLIES[tongue][command].replace("{name}", "Example Shop A/S")
    assert count_segments(text) == ("gsm7", 1)
    assert read(text) is None
    named = {Command.STOP: Command.START, Command.START: Command.STOP}.get(command, Command.STOP)
    words = [read(word) for word in text.replace(",", " ").replace(".", " ").split()]
    assert named in [said.command for said in words if said is not None]


def test_every_language_has_everything():
    assert KEYWORDS.keys() == REPLIES.keys()
    for tongue in KEYWORDS:
        assert KEYWORDS[tongue].keys() == REPLIES[tongue].keys() == set(Command)


@pytest.mark.parametrize(
    ("text", "number", "tongue"),
    [
        ("STOP", "+4520123456", "da"),
        ("STOP", "+4915112345678", "de"),
        ("STOP", "+12025550123", "en"),
        ("STOP", "+819012345678", "en"),
        ("ARRET", "+4520123456", "fr"),
        ("PARAR", "+351912345678", "pt"),
        ("PARAR", "+4520123456", "es"),
        ("STOP", "+35840123456", "fi"),
    ],
)
def test_the_language_of_the_answer(text, number, tongue):
    said = read(text)
    assert said is not None
    assert language(said, number) == tongue


def test_a_tenants_own_words():
    said = Said(Command.STOP, ("en",))
    own = OptOutRules(stop_reply="Bye!", name="Acme A/S")
    assert own.reply(said, "acme", "+4520123456") == "Bye!"
    help_me = own.reply(Said(Command.HELP, ("en",)), "acme", "+4520123456")
    assert help_me is not None
    assert help_me.startswith("Acme A/S: ")
    assert OptOutRules(replies=False).reply(said, "acme", "+4520123456") is None


@pytest.mark.parametrize("text", ["STOP", "start!", "Help"])
def test_a_reply_that_would_be_answered_for_ever(text):
    with pytest.raises(ValueError, match="answered for ever"):
        OptOutRules(help_reply=text)


@pytest.mark.parametrize("tongue", KEYWORDS)
def test_a_farewell_in_nobodys_name_is_one_sentence_and_is_no_command(tongue):
    for word in KEYWORDS[tongue][Command.STOP]:
        said = Said(Command.STOP, (tongue,))
        text = farewell(said, "1230", "+4520123456")
        assert text.startswith("1230")
        assert "{" not in text
        assert (text.count("."), text[-1]) == (1, ".")
        assert count_segments(text) == ("gsm7", 1)
        found = [read(one) for one in text.replace(".", " ").replace(":", " ").split()]
        assert not [one for one in found if one is not None], word


SHARED = Routes(
    [
        InboundRoute("1230", "acme", "acme", "https://acme.example"),
        InboundRoute("1230", "globex", "globex", "https://globex.example"),
        InboundRoute("1230", "win", "acme", "https://acme.example/win"),
        InboundRoute("+4512345678", None, "own", "https://own.example"),
        InboundRoute("+4512345678", "acme", "acme", "https://acme.example"),
        InboundRoute("1260", "acme", "acme", "https://acme.example"),
        InboundRoute("1260", "win", "acme", "https://acme.example/win"),
        InboundRoute("1240", "STOP", "stopper", "https://stopper.example"),
        InboundRoute("1240", "acme", "acme", "https://acme.example"),
        InboundRoute("1270", None, "own", "https://own.example"),
        InboundRoute("1270", "Café", "cafe", "https://cafe.example"),
        InboundRoute("1270", "big bake", "big", "https://big.example"),
        InboundRoute("1270", "bake", "bake", "https://bake.example"),
        InboundRoute("1270", "stop race", "race", "https://race.example"),
        InboundRoute("1270", "race", "runner", "https://runner.example"),
    ]
)


@pytest.mark.parametrize(
    ("number", "text", "missing", "expected"),
    [
        ("1230", "STOP", (), ("acme", "", ("globex",))),
        ("1230", "Arrêt!", (), ("acme", "", ("globex",))),
        ("1230", "globex STOP", (), ("globex", "https://globex.example", ())),
        ("1230", "START", (), None),
        ("1230", "HELP", (), None),
        ("1230", "stop it, please", (), None),
        ("1230", "STOP", (1,), None),
        ("4512345678", "stop", (), ("own", "https://own.example", ("acme",))),
        ("+4512345678", "START", (), ("own", "https://own.example", ())),
        ("+4512345678", "stop by", (), ("own", "https://own.example", ())),
        # Somebody has said whose it is.
        ("1240", "stop", (), ("stopper", "https://stopper.example", ())),
        ("1250", "stop", (), None),
        ("1260", "stop", (), ("acme", "https://acme.example", ())),
        ("1260", "start", (), ("acme", "https://acme.example", ())),
        ("1260", "hello", (), None),
        # Either order, for each command, and whoever else has the number.
        ("1230", "STOP globex", (), ("globex", "https://globex.example", ())),
        ("1230", "Stop, Globex!", (), ("globex", "https://globex.example", ())),
        ("1230", "afmeld mig globex", (), ("globex", "https://globex.example", ())),
        ("1230", "START globex", (), ("globex", "https://globex.example", ())),
        ("1230", "HELP win", (), ("acme", "https://acme.example/win", ())),
        ("1230", "STOP globex", (1,), None),
        ("1230", "STOP hooli", (), None),
        ("1230", "please stop globex", (), None),
        ("1230", "stop globex now", (), None),
        ("1240", "stop acme", (), ("acme", "https://acme.example", ())),
        ("1240", "stop by, acme", (), ("stopper", "https://stopper.example", ())),
        ("4512345678", "stop acme", (), ("acme", "https://acme.example", ())),
        ("4512345678", "acme stop", (), ("acme", "https://acme.example", ())),
        ("1270", "stop bake", (), ("bake", "https://bake.example", ())),
        ("1270", "stop all big bake", (), ("big", "https://big.example", ())),
        ("1270", "help big bake", (), ("big", "https://big.example", ())),
        ("1270", "cafe stop", (), ("cafe", "https://cafe.example", ())),
        ("1270", "stop cafe", (), ("cafe", "https://cafe.example", ())),
        ("1270", "stop race", (), ("race", "https://race.example", ())),
        ("1270", "race stop", (), ("runner", "https://runner.example", ())),
    ],
)
def test_whom_a_message_to_a_shared_number_reaches(number, text, missing, expected):
    at = datetime(2026, 5, 1, tzinfo=UTC)
    parts = 1 + len(missing)
    message = InboundMessage("mo_1", "c", "+4520", number, text, None, parts, missing, at, at)
    found = addressed(message, SHARED)
    assert (None if found is None else (found.tenant, found.url, found.also)) == expected
