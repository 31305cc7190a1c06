"""Why a request of a guest has no answer."""

from __future__ import annotations

from adapters.wasm.contract import ErrorKind, HttpError


class HttpFault(Exception):
    """There is no answer. The message is for the adapter's author, and never holds a secret.

    `maybe_sent` is True once a byte of the request may have left.
    """

    def __init__(self, kind: ErrorKind, message: str, *, maybe_sent: bool = False) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind
        self.message = message
        self.maybe_sent = maybe_sent

    def told(self) -> HttpError:
        """What the guest gets."""
        return HttpError(self.kind, self.message, self.maybe_sent)


def malformed(why: str) -> HttpFault:
    """For an answer that cannot be understood."""
    return HttpFault("malformed", f"there was an answer, but {why}", maybe_sent=True)


def too_large(what: str, cap: int) -> HttpFault:
    """For an answer with more than was allowed."""
    return HttpFault("too_large", f"{what} is over its limit of {cap:,}", maybe_sent=True)
