"""Which senders a country and a tenant's settings let through."""

from __future__ import annotations

import phonenumbers
import pytest

from domain.compliance.opt_out_hint import says_how_to_end
from domain.compliance.senders import CODES, COUNTRIES, Names, Sender, Senders, SenderStatus
from domain.content_rules import Action

APPROVED, PENDING, REJECTED = SenderStatus.APPROVED, SenderStatus.PENDING, SenderStatus.REJECTED

SENDERS = Senders(
    [
        Sender("acme", "Acme", APPROVED),
        Sender("acme", "AcmeIN", APPROVED, countries=("IN", "SG")),
        Sender("acme", "AcmeBank", APPROVED, reserved=True),
        Sender("acme", "Soon", PENDING, countries=("IN",), reserved=True),
        Sender("acme", "Never", REJECTED),
        Sender("acme", "+4520000000", APPROVED),
    ]
)
ALLOW, FLAG, REFUSE = Action.ALLOW, Action.FLAG, Action.REFUSE


@pytest.mark.parametrize(
    ("tenant", "sender", "country", "policy", "finding"),
    [
        ("acme", "Acme", "DK", REFUSE, None),
        ("acme", "ACME", "DK", REFUSE, None),
        ("acme", "4520000000", "DK", REFUSE, None),
        ("acme", "Acme", "US", ALLOW, ("sender_not_numeric", REFUSE)),
        ("acme", "4520000000", "US", ALLOW, None),
        ("acme", "1234", "US", ALLOW, None),
        ("acme", "Acme", "IN", ALLOW, ("sender_not_registered", REFUSE)),
        ("acme", "AcmeIN", "IN", REFUSE, None),
        ("acme", "AcmeIN", "DK", ALLOW, ("sender_not_for_country", REFUSE)),
        ("acme", "Soon", "IN", ALLOW, ("sender_not_registered", REFUSE)),
        ("acme", "Soon", "DK", ALLOW, None),
        ("acme", "Soon", "DK", REFUSE, ("sender_not_approved", REFUSE)),
        ("acme", "Never", "DK", ALLOW, ("sender_not_allowed", REFUSE)),
        ("acme", "Other", "DK", ALLOW, None),
        ("acme", "Other", "DK", FLAG, ("sender_not_approved", FLAG)),
        ("acme", "Other", "DK", REFUSE, ("sender_not_approved", REFUSE)),
        ("acme", "AcmeBank", "DK", ALLOW, None),
        ("other", "acmebank", "DK", ALLOW, ("sender_not_allowed", REFUSE)),
        ("other", "Soon", "DK", ALLOW, None),  # reserved when it is approved
        ("other", "Acme", "DK", ALLOW, None),
        ("other", "Never", "DK", ALLOW, None),
        ("acme", "Other", None, ALLOW, None),
        ("acme", "Other", "ZZ", ALLOW, None),
    ],
)
def test_senders(tenant, sender, country, policy, finding):
    assert SENDERS.check(tenant, sender, country, policy) == finding
    assert finding is None or finding[0] in CODES


def test_the_table_has_countries_only():
    assert set(COUNTRIES) <= phonenumbers.SUPPORTED_REGIONS
    assert Names.ALLOWED not in COUNTRIES.values()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Big sale. Reply STOP to opt out", True),
        ("Soldes ! Se désabonner : https://x.example", True),
        ("Angebot. ABMELDEN unter 123", True),
        ("Tilbud! Afmeld: send NEJ", True),
        ("Non-stop sale", True),  # the word is there: no more is asked
        ("Our stopwatch is on sale", False),
        ("Big sale", False),
        ("", False),
    ],
)
def test_whether_a_text_says_how_to_end(text: str, says: bool):
    assert says_how_to_end(text) is says
