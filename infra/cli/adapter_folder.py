"""An adapter's folder on this machine: made, built, tested and packed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click

from adapters.wasm import sdk

NAME: Final = r"[a-z][a-z0-9-]{1,31}"
_TEMPLATE: Final = Path(sdk.__file__).parent / "template"
_TYPES: Final = Path(sdk.__file__).parent / "hermes.d.ts"
_TEXTS: Final = frozenset({".js", ".json", ".md"})

Value = TypeVar("Value")


def create(name: str, directory: Path) -> list[Path]:
    """Copy the template into a new directory under the adapter's own name, and the SDK's types for
    the editor; the files. Raises ClickException."""
    if re.fullmatch(NAME, name) is None:
        raise click.BadParameter(
            "2 to 32 of a-z, 0-9 and -, the first a letter", param_hint="'NAME'"
        )
    if directory.exists() and any(directory.iterdir()):
        raise click.ClickException(f"{directory} is there already, and not empty.")
    template = json.loads((_TEMPLATE / "manifest.json").read_text())["name"]
    shutil.copytree(
        _TEMPLATE,
        directory,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("dist", "node_modules", "__pycache__"),
    )
    for path in directory.rglob("*"):
        if path.is_file() and path.suffix in _TEXTS:
            path.write_text(path.read_text().replace(template, name))
    shutil.copyfile(_TYPES, directory / "hermes-adapter.d.ts")
    return sorted(path for path in directory.rglob("*") if path.is_file())


def build(directory: Path) -> Path:
    """Build an adapter and pack it; the zip. Raises ClickException."""
    from adapters.wasm.manifest import ManifestError, read_manifest
    from adapters.wasm.sdk.build import BuildFailed
    from adapters.wasm.sdk.build import build as compile_adapter
    from adapters.wasm.upload.archive import pack
    from adapters.wasm.upload.refusal import Refused

    def made() -> Path:
        manifest = read_manifest((directory / "manifest.json").read_bytes())
        compile_adapter(directory)
        bundle = directory / "dist" / f"{manifest.name}-{manifest.version}.zip"
        bundle.write_bytes(pack(directory))
        return bundle

    return _told(directory, made, (ManifestError, BuildFailed, Refused))


def folder(named: str) -> Path:
    """The folder that is meant: a directory, or the name of an adapter that comes with Hermes.
    Raises ClickException."""
    path = Path(named)
    if (path / "manifest.json").is_file():
        return path
    from adapters.wasm.upload.built_in import PROVIDERS

    if re.fullmatch(NAME, named) and (PROVIDERS / named / "manifest.json").is_file():
        return PROVIDERS / named
    raise click.ClickException(
        f"{named} is no folder with a manifest.json, and no adapter that comes with Hermes."
    )


def _told(directory: Path, made: Callable[[], Value], faults: tuple[type[Exception], ...]) -> Value:
    try:
        return made()
    except faults as error:
        raise click.ClickException(f"{directory}: {error}") from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
