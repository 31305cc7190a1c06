"""What Hermes finds out about a recipient, and what a tenant has said once for all messages."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from domain.numbering.kind import NumberKind

Locale = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}$",
        description="BCP 47.",
        examples=["da-DK"],
    ),
]
"""A language, perhaps with a country: BCP 47, such as da or da-DK."""


class Recipient(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whom a message is for, as the router and a template need it.

    `country` (ISO 3166-1 alpha-2) and `kind` are what the number's range says. `operator` is the
    network that serves the number now, as MCC and MNC (23801), None while nobody has looked it up.
    """

    country: str | None = None
    kind: NumberKind | None = None
    operator: str | None = None
    locale: str | None = None


class Defaults(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What counts where a message does not say it itself.

    `senders` by channel. `dedup_window` in seconds: the same text to the same address within it
    is refused; None for no such check.
    """

    locale: Locale | None = None
    senders: dict[str, str] = {}
    dedup_window: Annotated[int, msgspec.Meta(ge=1, le=86_400)] | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a sender that its channel does not take."""
        if self.senders:
            _check_senders(self.senders)


def _check_senders(senders: dict[str, str]) -> None:
    # Late: the channels know messages, and those know recipients.
    from domain.channels import CHANNELS, SenderProblem

    for channel, sender in senders.items():
        rules = CHANNELS.get(channel)
        if rules is None:
            raise ValueError(f"there is no channel {channel}")
        try:
            rules.parse_sender(sender)
        except SenderProblem as problem:
            raise ValueError(problem.detail) from None


_LANGUAGES: Final[dict[str, str]] = {
    "ar": "AE BH DZ EG IQ JO KW LB LY MA OM QA SA SD SY TN YE",
    "bg": "BG",
    "bn": "BD",
    "cs": "CZ",
    "da": "DK GL",
    "de": "AT DE LI",
    "el": "CY GR",
    "en": "AG AU BB BS GB GH GG GM IE IM JE JM KE LR NG NZ SL TT UG US ZM ZW",
    "es": "AR BO CL CO CR CU DO EC ES GT HN MX NI PA PE PY SV UY VE",
    "et": "EE",
    "fa": "IR",
    "fi": "FI",
    "fr": "BF BJ CG CI FR GA GF GP MC ML MQ NE RE SN TG",
    "he": "IL",
    "hr": "HR",
    "hu": "HU",
    "id": "ID",
    "is": "IS",
    "it": "IT SM VA",
    "ja": "JP",
    "ko": "KR",
    "lt": "LT",
    "lv": "LV",
    "nl": "NL",
    "no": "NO",
    "pl": "PL",
    "pt": "AO BR MZ PT",
    "ro": "MD RO",
    "ru": "RU",
    "sk": "SK",
    "sl": "SI",
    "sq": "AL XK",
    "sr": "RS",
    "sv": "AX SE",
    "th": "TH",
    "tr": "TR",
    "uk": "UA",
    "vi": "VN",
    "zh": "CN TW",
}
LOCALES: Final[dict[str, str]] = {
    country: f"{language}-{country}"
    for language, countries in _LANGUAGES.items()
    for country in countries.split()
}
"""The locale that nearly everybody in a country reads. Countries of several languages, such as
Belgium, Switzerland or Canada, are not in it: a guess would be wrong too often."""
