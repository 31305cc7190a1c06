"""Secrets in settings: where they are written down, and that they are never shown."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import AfterValidator, BeforeValidator, SecretStr

Complaint = Callable[[str], Exception]
_when_used: ContextVar[Complaint | None] = ContextVar("when_used", default=None)


class _Missing(SecretStr):
    """A secret that is not to be had here, of which only its user need hear."""

    def __init__(self, why: str, complaint: Complaint) -> None:
        super().__init__("")
        self._why = why
        self._complaint = complaint

    def get_secret_value(self) -> NoReturn:
        raise self._complaint(self._why)

    def __len__(self) -> int:
        # An empty one would pass for a setting that nobody made.
        return len(self.get_secret_value())


@contextlib.contextmanager
def missing_until_used(complaint: Complaint) -> Iterator[None]:
    """Within it a secret that cannot be read is no fault of its settings; whoever asks for its
    value later gets the exception that `complaint` makes of the reason."""
    token = _when_used.set(complaint)
    try:
        yield
    finally:
        _when_used.reset(token)


def checked(check: Callable[[SecretStr], SecretStr]) -> AfterValidator:
    """A validator of secrets that passes over one that could not be read."""
    return AfterValidator(lambda value: value if isinstance(value, _Missing) else check(value))


def _resolve(value: Any) -> Any:
    try:
        return _read(value)
    except ValueError as error:
        complaint = _when_used.get()
        if complaint is None:
            raise
        return _Missing(str(error), complaint)


def _read(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("env:"):
        name = value.removeprefix("env:")
        if name not in os.environ:
            raise ValueError(f"environment variable {name} is not set")
        return os.environ[name]
    if isinstance(value, str) and value.startswith("file:"):
        path = Path(value.removeprefix("file:"))
        try:
            return path.read_text().strip()
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror}") from error
    return value


Secret = Annotated[SecretStr, BeforeValidator(_resolve)]
"""A literal, `env:NAME` or `file:/path`; never shown in a representation or an error."""
