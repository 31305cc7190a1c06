"""/unsubscribe/…: where the links in marketing mails lead. No login: the link itself is signed.

RFC 8058: a mail program posts to it, for the reader's one click. Programs that look at every link
only get, which changes nothing but shows a page with a button, for readers whose program has none.
"""

from __future__ import annotations

import asyncio
from html import escape
from typing import Final, NamedTuple

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from adapters.suppression.links import CHANNEL, PATH, Unsubscription
from adapters.suppression.store import Entry
from domain.ports import TenantDirectory
from domain.suppression import RULES, Reason
from handlers.api import operation
from handlers.api.problems import Problem
from handlers.api.suppression_requests import SuppressionDesk

_LARGEST_BODY: Final = 4096
"""Octets; "List-Unsubscribe=One-Click" has 26."""


class Words(NamedTuple):
    """A page in one language; {name} and {address} are filled in. `broken` is for a link that was
    cut off."""

    question: str
    button: str
    done: str
    broken: str


WORDS: Final[dict[str, Words]] = {
    "en": Words(
        "Stop marketing by e-mail from {name} to {address}?",
        "Unsubscribe",
        "Done: no more marketing by e-mail from {name} to {address}.",
        "This link is not whole. Follow it in the mail again, or copy all of it.",
    ),
    "da": Words(
        "Vil du afmelde reklamer fra {name} til {address}?",
        "Afmeld",
        "Afmeldt: {name} sender ikke flere reklamer til {address}.",
        "Linket er ikke helt. Følg det igen fra mailen, eller kopiér det hele.",
    ),
    "sv": Words(
        "Vill du avregistrera reklam från {name} till {address}?",
        "Avregistrera",
        "Klart: {name} skickar ingen mer reklam till {address}.",
        "Länken är inte hel. Följ den i mejlet igen, eller kopiera hela.",
    ),
    "no": Words(
        "Vil du melde av reklame fra {name} til {address}?",
        "Meld av",
        "Avmeldt: {name} sender ikke mer reklame til {address}.",
        "Lenken er ikke hel. Følg den i e-posten igjen, eller kopier hele.",
    ),
    "fi": Words(
        "Lopetetaanko mainokset lähettäjältä {name} osoitteeseen {address}?",
        "Lopeta",
        "Valmis: {name} ei enää lähetä mainoksia osoitteeseen {address}.",
        "Linkki ei ole kokonainen. Avaa se viestistä uudelleen tai kopioi se kokonaan.",
    ),
    "de": Words(
        "Werbung von {name} an {address} abbestellen?",
        "Abbestellen",
        "Abbestellt: {name} schickt keine Werbung mehr an {address}.",
        "Der Link ist unvollständig. "
        "Öffnen Sie ihn noch einmal aus der Mail, oder kopieren Sie ihn ganz.",
    ),
    "fr": Words(
        "Ne plus recevoir la publicité de {name} à l'adresse {address} ?",
        "Se désabonner",
        "C'est fait : {name} n'enverra plus de publicité à {address}.",
        "Ce lien est incomplet. Suivez-le à nouveau depuis le mail, ou copiez-le en entier.",
    ),
    "es": Words(
        "¿Dejar de recibir publicidad de {name} en {address}?",
        "Darse de baja",
        "Hecho: {name} no enviará más publicidad a {address}.",
        "El enlace no está completo. Ábralo de nuevo desde el correo o cópielo entero.",
    ),
    "it": Words(
        "Non ricevere più pubblicità da {name} a {address}?",
        "Annulla l'iscrizione",
        "Fatto: {name} non invierà più pubblicità a {address}.",
        "Il link non è completo. Lo apra di nuovo dalla mail, o lo copi per intero.",
    ),
    "nl": Words(
        "Geen reclame meer ontvangen van {name} op {address}?",
        "Afmelden",
        "Afgemeld: {name} stuurt geen reclame meer naar {address}.",
        "De link is niet volledig. Open hem opnieuw vanuit de mail, of kopieer hem helemaal.",
    ),
    "pl": Words(
        "Zrezygnować z reklam od {name} na adres {address}?",
        "Wypisz mnie",
        "Gotowe: {name} nie wyśle więcej reklam na adres {address}.",
        "Link nie jest pełny. Otwórz go ponownie z wiadomości albo skopiuj go w całości.",
    ),
    "pt": Words(
        "Deixar de receber publicidade de {name} em {address}?",
        "Cancelar a subscrição",
        "Feito: {name} não enviará mais publicidade para {address}.",
        "A ligação não está completa. Abra-a de novo a partir do e-mail, ou copie-a inteira.",
    ),
}
_FALLBACK: Final = "en"
_SAME: Final = {"nb": "no", "nn": "no"}

_PAGE: Final = """<!doctype html>
<html lang="{language}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>
  body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 18vh auto 0;
         padding: 0 1.5rem; color: #222; background: #fff; }}
  button {{ font: inherit; padding: .6rem 1.4rem; border: 0; border-radius: .4rem;
           color: #fff; background: #1a56b0; cursor: pointer; }}
  button:focus-visible {{ outline: 3px solid #f5b301; }}
  @media (prefers-color-scheme: dark) {{ body {{ color: #eee; background: #181818; }} }}
</style>
<p>{text}</p>
{form}</html>
"""
_FORM: Final = """<form method="post">
<button name="List-Unsubscribe" value="One-Click">{button}</button>
</form>
"""
_HEADERS: Final = {
    # A page without scripts, of nobody's frame, that tells nobody where it leads.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
}
_PARAMETERS: Final = [
    {
        "name": "token",
        "in": "path",
        "required": True,
        "description": "What the mail's List-Unsubscribe header has.",
        "schema": {"type": "string"},
    }
]


def add_routes(router: APIRouter, desk: SuppressionDesk | None, tenants: TenantDirectory) -> None:
    """Serve the pages; every path is `not_found` where there is no `desk`."""

    def served() -> SuppressionDesk:
        if desk is None:
            raise Problem("not_found")
        return desk

    def meant(request: Request) -> Unsubscription:
        found = served().links.read(request.path_params["token"])
        if found is None:
            raise _BrokenLink(request)
        return found

    def page(request: Request, link: Unsubscription, *, done: bool) -> Response:
        tenant = tenants.tenant(link.owner)
        name = (tenant.opt_out.name if tenant is not None else None) or link.owner
        words = WORDS[_language(request)]
        text = words.done if done else words.question
        form = "" if done else _FORM.format(button=escape(words.button))
        return _page(request, text.format(name=name, address=link.masked), form)

    async def unsubscribe_page(request: Request) -> Response:
        """A page with a button, for whoever follows the link in a browser. Changes nothing."""
        return page(request, meant(request), done=False)

    async def unsubscribe(request: Request) -> Response:
        """End marketing by e-mail to whoever got the mail: what a mail program posts for one click
        (RFC 8058). May be repeated."""
        link = meant(request)
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > _LARGEST_BODY:
                raise Problem("body_too_large", f"The body may have {_LARGEST_BODY} bytes.")
        entry = Entry(
            link.key,
            Reason.UNSUBSCRIBE,
            CHANNEL,
            RULES[Reason.UNSUBSCRIBE].categories,
            link.masked,
            link.message,
        )
        await asyncio.to_thread(served().store.put, link.owner, [entry])
        await asyncio.to_thread(served().lists.refresh)
        return page(request, link, done=True)

    for method, endpoint, summary in (
        ("GET", unsubscribe_page, "Ask whether to unsubscribe"),
        ("POST", unsubscribe, "Unsubscribe with one click"),
    ):
        operation.add(
            router,
            method,
            PATH + "{token}",
            endpoint,
            tag="Suppressions",
            summary=summary,
            status=200,
            answer=None,
            problems=("not_found", "invalid_unsubscribe_link", "body_too_large"),
            parameters=_PARAMETERS,
            open_to_all=True,
        )


class _BrokenLink(Problem):
    """A link that is not ours, or not whole: a page for whoever follows it in a browser."""

    def __init__(self, request: Request) -> None:
        super().__init__("invalid_unsubscribe_link")
        self._request = request

    def response(self) -> Response:
        if "text/html" not in self._request.headers.get("accept", ""):
            return super().response()
        words = WORDS[_language(self._request)]
        return _page(self._request, words.broken, status=self.status)


def _page(request: Request, text: str, form: str = "", status: int = 200) -> Response:
    language = _language(request)
    html = _PAGE.format(
        language=language,
        title=escape(WORDS[language].button),
        text=escape(text),
        form=form,
    )
    return Response(html, status, headers=_HEADERS, media_type="text/html")


def _language(request: Request) -> str:
    """The first language that a browser asks for and there are words in; their order is mostly
    that of preference."""
    accepted = request.headers.get("accept-language", "")
    for part in accepted[:200].split(","):
        tongue = part.partition(";")[0].strip().lower().partition("-")[0]
        tongue = _SAME.get(tongue, tongue)
        if tongue in WORDS:
            return tongue
    return _FALLBACK
