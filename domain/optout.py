"""STOP, START and HELP: what people write to be left alone, in their languages, and what they are
told.

A message is a command when it is nothing else: "STOP", "stop!", "Arrêt". "Stop by on Friday" is
none. Case, accents and punctuation make no difference. What a command does is the tenant's of the
number that it was written to.
"""

from __future__ import annotations

import unicodedata
from enum import Enum
from functools import cache
from typing import Annotated, Final, NamedTuple

import msgspec

from domain.inbound import InboundDelivery, InboundMessage, InboundRoute, Routes, delivery_of, words
from domain.message import Category
from domain.suppression import RULES, Reason


class Command(str, Enum):
    """What a person asks for."""

    STOP = "stop"
    START = "start"
    HELP = "help"


KEYWORDS: Final[dict[str, dict[Command, tuple[str, ...]]]] = {
    # Those that the FCC names (47 CFR 64.1200(a)(10)), and those that carriers know.
    "en": {
        Command.STOP: (
            *("STOP", "STOPALL", "STOP ALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE"),
            *("OPTOUT", "OPT OUT", "OPT-OUT"),
        ),
        Command.START: ("START", "UNSTOP", "SUBSCRIBE", "OPTIN", "OPT IN", "OPT-IN"),
        Command.HELP: ("HELP", "INFO"),
    },
    "da": {
        Command.STOP: ("STOP", "AFMELD", "FRAMELD", "AFMELD MIG", "STOP NU"),
        Command.START: ("START", "TILMELD", "TILMELD MIG"),
        Command.HELP: ("HJÆLP", "HJAELP"),
    },
    "sv": {
        Command.STOP: ("STOPP", "STOPPA", "SLUTA", "AVSLUTA", "AVREGISTRERA", "AVANMÄL"),
        Command.START: ("START", "STARTA", "ANMÄL", "REGISTRERA"),
        Command.HELP: ("HJÄLP", "HJALP"),
    },
    "no": {
        Command.STOP: ("STOPP", "AVMELD", "MELD AV", "MELD MEG AV", "AVSLUTT"),
        Command.START: ("START", "PÅMELD", "MELD PÅ", "MELD MEG PÅ"),
        Command.HELP: ("HJELP",),
    },
    "fi": {
        Command.STOP: ("LOPETA", "SEIS", "PERUUTA", "PERU", "POISTU", "STOP"),
        Command.START: ("ALOITA", "TILAA", "LIITY", "START"),
        Command.HELP: ("APUA", "OHJE", "OHJEET"),
    },
    "de": {
        Command.STOP: ("STOP", "STOPP", "ABMELDEN", "ABBESTELLEN", "AUSTRAGEN", "ENDE"),
        Command.START: ("START", "STARTEN", "ANMELDEN"),
        Command.HELP: ("HILFE",),
    },
    "fr": {
        Command.STOP: (
            *("STOP", "ARRET", "ARRETER", "ARRETEZ", "DESABONNER", "DESINSCRIRE"),
            *("DESINSCRIPTION", "DESABONNEMENT"),
        ),
        Command.START: ("START", "DEMARRER", "REPRENDRE", "REABONNER", "ABONNER"),
        Command.HELP: ("AIDE",),
    },
    "es": {
        Command.STOP: ("STOP", "ALTO", "PARAR", "BAJA", "CANCELAR", "DETENER", "DAR DE BAJA"),
        Command.START: ("START", "INICIAR", "EMPEZAR", "COMENZAR", "ALTA", "DAR DE ALTA"),
        Command.HELP: ("AYUDA",),
    },
    "it": {
        Command.STOP: ("STOP", "FERMA", "ANNULLA", "CANCELLAMI", "DISISCRIVI", "BASTA"),
        Command.START: ("START", "INIZIA", "ISCRIVI", "ISCRIVIMI"),
        Command.HELP: ("AIUTO",),
    },
    "nl": {
        Command.STOP: ("STOP", "STOPPEN", "AFMELDEN", "UITSCHRIJVEN", "OPZEGGEN"),
        Command.START: ("START", "STARTEN", "AANMELDEN", "INSCHRIJVEN"),
        Command.HELP: ("HULP",),
    },
    "pl": {
        Command.STOP: ("STOP", "ZATRZYMAJ", "WYPISZ", "WYPISZ MNIE", "REZYGNUJĘ", "REZYGNACJA"),
        Command.START: ("START", "ROZPOCZNIJ", "ZAPISZ", "ZAPISZ MNIE"),
        Command.HELP: ("POMOC",),
    },
    "pt": {
        Command.STOP: ("STOP", "PARAR", "PARE", "SAIR", "CANCELAR", "REMOVER", "DESCADASTRAR"),
        Command.START: ("START", "INICIAR", "COMEÇAR", "VOLTAR", "INSCREVER"),
        Command.HELP: ("AJUDA",),
    },
}
"""By language. No greeting, no yes or no: they answer a tenant's own question."""

REPLIES: Final[dict[str, dict[Command, str]]] = {
    "en": {
        Command.STOP: "{name}: You will get no more messages from us. Reply START to get them.",
        Command.START: "{name}: You will get our messages again. Reply STOP to end them.",
        Command.HELP: "{name}: Reply STOP to get no more messages, START to get them again.",
    },
    "da": {
        Command.STOP: "{name}: Du får ikke flere beskeder fra os. Svar START for at få dem igen.",
        Command.START: "{name}: Du får vores beskeder igen. Svar STOP for at afmelde dem.",
        Command.HELP: "{name}: Svar STOP for ikke at få flere beskeder, START for at få dem igen.",
    },
    "sv": {
        Command.STOP: "{name}: Du får inga fler meddelanden från oss. Svara START för att få dem.",
        Command.START: "{name}: Du får våra meddelanden igen. Svara STOPP för att avsluta.",
        Command.HELP: "{name}: Svara STOPP för att slippa meddelanden, START för att få dem igen.",
    },
    "no": {
        Command.STOP: "{name}: Du får ikke flere meldinger fra oss. Svar START for å få dem igjen.",
        Command.START: "{name}: Du får meldingene våre igjen. Svar STOPP for å avslutte.",
        Command.HELP: "{name}: Svar STOPP for å slippe meldinger, START for å få dem igjen.",
    },
    "fi": {
        Command.STOP: "{name}: Et saa meiltä enää viestejä. Vastaa ALOITA, jos haluat niitä taas.",
        Command.START: "{name}: Saat taas viestimme. Vastaa LOPETA, jos et halua niitä.",
        Command.HELP: "{name}: Vastaa LOPETA, niin viestit loppuvat, ALOITA, niin ne jatkuvat.",
    },
    "de": {
        Command.STOP: "{name}: Sie bekommen keine Nachrichten mehr. Mit START wieder anmelden.",
        Command.START: "{name}: Sie bekommen wieder Nachrichten. Mit STOP abmelden.",
        Command.HELP: "{name}: STOP beendet unsere Nachrichten, START meldet Sie wieder an.",
    },
    "fr": {
        Command.STOP: "{name} : vous ne recevrez plus nos messages. Répondez START pour reprendre.",
        Command.START: "{name} : nos messages reprennent. Répondez STOP pour y mettre fin.",
        Command.HELP: "{name} : répondez STOP pour ne plus recevoir de messages, START sinon.",
    },
    "es": {
        Command.STOP: "{name}: No le enviaremos otros mensajes. Responda START para recibirlos.",
        Command.START: "{name}: Vuelve a recibir mensajes. Responda STOP para darse de baja.",
        Command.HELP: "{name}: Responda STOP para no recibir mensajes, START para recibirlos.",
    },
    "it": {
        Command.STOP: "{name}: Non riceverà più messaggi. Risponda START per riceverli di nuovo.",
        Command.START: "{name}: Riceverà di nuovo i messaggi. Risponda STOP per non riceverli.",
        Command.HELP: "{name}: Risponda STOP per non ricevere messaggi, START per riceverli.",
    },
    "nl": {
        Command.STOP: "{name}: U krijgt geen berichten meer. Antwoord START om ze weer te krijgen.",
        Command.START: "{name}: U krijgt onze berichten weer. Antwoord STOP om ze te stoppen.",
        Command.HELP: "{name}: Antwoord STOP om te stoppen, START om weer te beginnen.",
    },
    "pl": {
        Command.STOP: "{name}: Nie dostaniesz wiecej wiadomosci. START, aby je znow otrzymywac.",
        Command.START: "{name}: Znow dostaniesz nasze wiadomosci. STOP, aby zrezygnowac.",
        Command.HELP: "{name}: Odpisz STOP, aby zrezygnowac z wiadomosci, START, aby je dostawac.",
    },
    "pt": {
        Command.STOP: "{name}: Sem mais mensagens nossas. Responda START para voltar a receber.",
        Command.START: "{name}: Volta a receber mensagens. Responda STOP para parar.",
        Command.HELP: "{name}: Responda STOP para deixar de receber mensagens, START para receber.",
    },
}
"""What is answered, unless the tenant has a text of its own. Worded, and in Polish written, without
letters that SMS has only in UCS-2, which would make two parts of one."""

_COUNTRIES: Final = {
    "da": ("45", "298", "299"),
    "sv": ("46",),
    "no": ("47",),
    "fi": ("358",),
    "de": ("49", "43", "41", "423"),
    "fr": ("33", "352", "377"),
    "es": ("34", "51", "52", "54", "56", "57"),
    "it": ("39",),
    "nl": ("31", "32"),
    "pl": ("48",),
    "pt": ("351", "55"),
}
_LANGUAGES_OF_COUNTRIES: Final = {
    code: tongue for tongue, codes in _COUNTRIES.items() for code in codes
}
"""By country code, for words that several languages share."""
_FALLBACK: Final = "en"

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=600)]


class Said(NamedTuple):
    """A command, and the languages that have the word for it."""

    command: Command
    languages: tuple[str, ...]


class OptOutRules(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a tenant's numbers do with STOP, START and HELP.

    `keywords` off leaves all of it to the tenant, who gets the message in any case. `stop_blocks`
    are the categories that STOP ends. `replies` off answers nothing; `stop_reply`, `start_reply`
    and `help_reply` go before the texts of Hermes, where `name` is how the tenant calls itself.
    Raises ValueError for a reply that would itself be a command.
    """

    keywords: bool = True
    stop_blocks: frozenset[Category] = RULES[Reason.STOP].categories
    replies: bool = True
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=40)] | None = None
    stop_reply: _Text | None = None
    start_reply: _Text | None = None
    help_reply: _Text | None = None

    def __post_init__(self) -> None:
        for text in (self.stop_reply, self.start_reply, self.help_reply):
            if text is not None and read(text) is not None:
                raise ValueError("a reply that is itself a command could be answered for ever")

    def reply(self, said: Said, tenant: str, number: str) -> str | None:
        """What to answer a person with this number; None for nothing."""
        if not self.replies:
            return None
        own = {
            Command.STOP: self.stop_reply,
            Command.START: self.start_reply,
            Command.HELP: self.help_reply,
        }[said.command]
        if own is not None:
            return own
        template = REPLIES[language(said, number)][said.command]
        return template.replace("{name}", self.name or tenant)


def read(text: str, keyword: str | None = None) -> Said | None:
    """The command that a message is, if it is one and nothing else.

    Where several share a number, `keyword` tells whose it is, before the command or behind it.
    """
    found = _folded(text)
    said = _commands().get(found)
    if said is not None or keyword is None:
        # Also where the route's keyword is the command itself.
        return said
    own = _folded(keyword)
    if found[: len(own)] == own:
        return _commands().get(found[len(own) :])
    if found[-len(own) :] == own:
        return _commands().get(found[: -len(own)])
    return None


def addressed(message: InboundMessage, routes: Routes) -> InboundDelivery | None:
    """Whose a message is, None for nobody's.

    A STOP without a keyword, to a number that several tenants share, is meant for all of them:
    whoever writes it wants no more messages from the number, and need not know who shares it. A
    command to a number that only one tenant has is that tenant's. One with a keyword before it or
    behind it is the keyword's: nobody knows which of the two comes first.
    """
    route = routes.find(message.destination, message.beginning)
    if route is None or route.keyword is None or read(message.beginning, route.keyword) is None:
        route = _named(message, routes) or route
    said = read(message.beginning)
    if said is None or (route is not None and route.keyword is not None):
        return None if route is None else delivery_of(message, route)
    sharing = routes.sharing(message.destination)
    if route is None:
        if not sharing or (len(sharing) > 1 and said.command is not Command.STOP):
            return None
        url = sharing[0].url if len(sharing) == 1 else ""
        route = InboundRoute(message.destination, None, sharing[0].tenant, url)
    also = [one.tenant for one in sharing if one.tenant != route.tenant]
    return delivery_of(message, route, tuple(also if said.command is Command.STOP else ()))


def _named(message: InboundMessage, routes: Routes) -> InboundRoute | None:
    """The route whose keyword stands beside a command, where a message has nothing else; one that
    is made for both together goes first."""
    found = _folded(message.beginning)
    commands = _commands()
    if found in commands:
        return None
    beside = {found[n:] for n in range(1, len(found)) if found[:n] in commands}
    beside |= {found[:n] for n in range(1, len(found)) if found[n:] in commands}
    if not beside:
        return None
    beside.add(found)
    keywords = routes.with_keyword(message.destination)
    return next((route for keyword, route in keywords if _folded(keyword) in beside), None)


def farewell(said: Said, sender: str, number: str) -> str:
    """What a person with this number is told who has ended all that share the number `sender`:
    in no tenant's name, and without a word of START, which is no one's in particular."""
    template = REPLIES[language(said, number)][Command.STOP]
    return template.partition(". ")[0].replace("{name}", sender) + "."


def language(said: Said, number: str) -> str:
    """The language to answer in: the word's, or of several that have it the country's."""
    if len(said.languages) == 1:
        return said.languages[0]
    digits = number.lstrip("+")
    spoken = next(
        (found for n in (3, 2) if (found := _LANGUAGES_OF_COUNTRIES.get(digits[:n]))), _FALLBACK
    )
    if spoken in said.languages:
        return spoken
    return _FALLBACK if _FALLBACK in said.languages else said.languages[0]


_LONGEST: Final = 8
"""Words of a command and the keyword beside it."""
_MOST_SIGNS: Final = 8
"""Signs that stand by themselves around them."""


def _folded(text: str) -> tuple[str, ...]:
    """Words without case, punctuation and accents; () for a text too long to be a command."""
    all_ = words(text, _LONGEST + _MOST_SIGNS + 1)
    # French puts a space before an exclamation mark, and people put a picture behind a word.
    found = [word for word in all_ if any(map(str.isalnum, word))]
    if len(found) > _LONGEST or len(all_) > _LONGEST + _MOST_SIGNS:
        return ()
    return tuple(
        "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
        for word in found
    )


@cache
def _commands() -> dict[tuple[str, ...], Said]:
    """Raises ValueError where one word would mean two things."""
    found: dict[tuple[str, ...], Said] = {}
    for tongue, commands in KEYWORDS.items():
        for command, spellings in commands.items():
            for spelling in spellings:
                folded = _folded(spelling)
                before = found.get(folded, Said(command, ()))
                if before.command is not command:
                    raise ValueError(f"{spelling} is {before.command.value} and {command.value}")
                if tongue not in before.languages:
                    found[folded] = Said(command, (*before.languages, tongue))
    return found
