"""References: found again by the attempt that they were made for, and by nobody else."""

import re
from datetime import UTC, datetime

import pytest

from adapters.wasm.reference import KEY_BYTES, Reference, mint, read
from domain.ids import derived_id, fresh_id

KEY = bytes(range(KEY_BYTES))
MESSAGE = fresh_id(datetime(2025, 1, 2, tzinfo=UTC), b"0123456789")
VERSION = "0a1b2c3d" + "e" * 56


@pytest.mark.parametrize("message", [MESSAGE, derived_id("acme", "order-7")])
@pytest.mark.parametrize("attempt", [1, 2, 10, 9_999_999_999])
@pytest.mark.parametrize("version", [VERSION, VERSION[:8]])
def test_a_reference_names_its_attempt(message, attempt, version):
    text = mint(KEY, "acme", "twilio", message, attempt, version)
    assert read(KEY, "acme", "twilio", text) == Reference(message, attempt, VERSION[:8])
    assert len(text) <= 120
    assert re.fullmatch(r"[A-Za-z0-9._-]+", text)


def test_it_is_the_same_every_time():
    # Written down: messages are on their way for weeks, so a reference outlives its process.
    assert mint(KEY, "acme", "twilio", "msg_" + "0" * 26, 1, VERSION) == GOLDEN
    assert read(KEY, "acme", "twilio", GOLDEN) is not None


GOLDEN = "1.00000000000000000000000000.1.0a1b2c3d.YNkJFYVIOBtX8opN9T9OXg"

TEXT = mint(KEY, "acme", "twilio", MESSAGE, 1, VERSION)


@pytest.mark.parametrize(
    ("key", "tenant", "adapter"),
    [
        (bytes(KEY_BYTES), "acme", "twilio"),
        (KEY, "other", "twilio"),
        (KEY, "acme", "sendgrid"),
        (KEY, "acm", "etwilio"),
        (KEY, 'acme", "twilio', ""),
        (KEY, "", "acmetwilio"),
    ],
)
def test_it_means_nothing_elsewhere(key, tenant, adapter):
    assert read(key, tenant, adapter, TEXT) is None


@pytest.mark.parametrize("position", range(len(TEXT)))
def test_no_character_can_be_changed(position):
    for other in "0A_.-é\0":
        if other != TEXT[position]:
            changed = TEXT[:position] + other + TEXT[position + 1 :]
            assert read(KEY, "acme", "twilio", changed) is None


PARTS = TEXT.split(".")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "....",
        TEXT + "\n",
        TEXT + "=",
        TEXT + "A",
        TEXT[:-1],
        " " + TEXT,
        TEXT.lower(),
        ".".join(PARTS[:4]),
        ".".join([*PARTS, "x"]),
        ".".join(["2", *PARTS[1:]]),
        ".".join([*PARTS[:2], "01", *PARTS[3:]]),
        ".".join([*PARTS[:2], "+1", *PARTS[3:]]),
        ".".join([*PARTS[:2], "\u0661", *PARTS[3:]]),
        ".".join([*PARTS[:2], "0", *PARTS[3:]]),
        ".".join([*PARTS[:4], "é" * 22]),
        "1" * 100_000,
        "\udcff",
    ],
)
def test_what_is_none_is_no_error(text):
    assert read(KEY, "acme", "twilio", text) is None


@pytest.mark.parametrize(
    ("message", "attempt", "version"),
    [
        ("", 1, VERSION),
        ("msg_1", 1, VERSION),
        (MESSAGE, 0, VERSION),
        (MESSAGE, -1, VERSION),
        (MESSAGE, 10**10, VERSION),
        (MESSAGE, 1, ""),
        (MESSAGE, 1, VERSION[:7]),
        (MESSAGE, 1, VERSION.upper()),
    ],
)
def test_nothing_is_minted_that_could_not_be_read(message, attempt, version):
    with pytest.raises(ValueError, match=r"message id|attempts|version"):
        mint(KEY, "acme", "twilio", message, attempt, version)
