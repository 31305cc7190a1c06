"""From an adapter's JavaScript to its component: `python -m adapters.wasm.sdk.build DIRECTORY…`.

`DIRECTORY/adapter.js` and what it imports become `DIRECTORY/dist/adapter.wasm`: QuickJS, the
scripts, and nothing of WASI, which is left out so that there is nothing to forbid.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

ENTRY: Final = "adapter.js"
COMPONENT: Final = Path("dist", "adapter.wasm")

_HERE = Path(__file__).parent
_SDK = _HERE / "hermes.js"
_WIT = _HERE.parent / "wit" / "hermes-adapter.wit"
_COMPILER = _HERE.parents[2] / "node_modules" / "componentize-qjs"
_OPTIONS = ("--world", "adapter", "--stub-wasi", "--sync")
_SOURCES = frozenset({".js", ".mjs", ".json"})
_APART = frozenset({"dist", "node_modules", "vectors"})
_PACKAGE = '{"name":"hermes-adapter","type":"module","exports":"./hermes.js"}'
_PATIENCE = 120.0


class BuildFailed(Exception):
    """There is no component; the text is the compiler's, or says what is missing."""


def build(directory: Path) -> Path:
    """Build an adapter unless it is built already; the component's path.

    Only scripts and JSON below the directory can be imported, and 'hermes-adapter': a package from
    npm has to be bundled into one of them first.
    Several processes may build at once. Raises BuildFailed.
    """
    sources = _sources(directory)
    if Path(ENTRY) not in sources:
        raise BuildFailed(f"{directory} has no {ENTRY}")
    component, stamp = directory / COMPONENT, directory / "dist" / ".built"
    digest = _digest(sources)
    if component.exists() and stamp.exists() and stamp.read_text() == digest:
        return component
    component.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hermes-build-") as place:
        staged = Path(place)
        made = _compile(staged, sources)
        _replace(component, made.read_bytes())
    _replace(stamp, digest.encode())
    return component


def _sources(directory: Path) -> dict[Path, bytes]:
    found: dict[Path, bytes] = {}
    for path in sorted(directory.rglob("*")):
        inner = path.relative_to(directory)
        if path.suffix in _SOURCES and not _APART & set(inner.parts) and path.is_file():
            found[inner] = path.read_bytes()
    return found


def _digest(sources: dict[Path, bytes]) -> str:
    package = _COMPILER / "package.json"
    if not package.exists():
        raise BuildFailed("componentize-qjs is not installed: `make setup` brings it")
    version = msgspec.json.decode(package.read_bytes())["version"]
    digest = hashlib.sha256(repr((version, _OPTIONS)).encode())
    known = {Path("sdk"): _SDK.read_bytes(), Path("wit"): _WIT.read_bytes()}
    for name, content in (known | sources).items():
        digest.update(f"\n{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _compile(staged: Path, sources: dict[Path, bytes]) -> Path:
    node = shutil.which("node")
    if node is None:
        raise BuildFailed("Node.js is not there; Hermes needs version 18 or newer")
    package = Path("node_modules", "hermes-adapter")
    beside = {
        package / "package.json": _PACKAGE.encode(),
        package / "hermes.js": _SDK.read_bytes(),
        Path("world.wit"): _WIT.read_bytes(),
    }
    scripts = {name: _script(name, content) for name, content in sources.items()}
    for name, content in (scripts | beside).items():
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).write_bytes(content)
    # Names without a directory: none is to be found in the component.
    command = (
        *(node, str(_COMPILER / "bin" / "componentize-qjs"), *_OPTIONS),
        *("--wit", "world.wit", "--js", ENTRY, "--module-root", ".", "--output", "adapter.wasm"),
    )
    try:
        ended = subprocess.run(
            command, cwd=staged, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise BuildFailed(f"the compiler has not ended within {_PATIENCE:.0f} s") from None
    made = staged / "adapter.wasm"
    if ended.returncode or not made.exists():
        raise BuildFailed(_said(ended.stdout + ended.stderr))
    return made


def _script(name: Path, content: bytes) -> bytes:
    """A source as the compiler takes it, which knows no JSON modules."""
    return b"export default " + content if name.suffix == ".json" else content


def _said(output: str) -> str:
    """What the compiler said, without its banner and the trace through its own innards."""
    lines = [line for line in output.splitlines() if line.strip()]
    banner = re.compile(r"componentize-qjs$|\s+(WIT|JS|Output): |Stubbing ")
    return "\n".join(line for line in lines if not banner.match(line)) or "it says nothing"


def _replace(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), 0o644)
    Path(temporary).replace(path)


def main(arguments: Sequence[str]) -> int:
    """Build each directory; 1 when one of them fails."""
    failed = 0
    for name in arguments:
        try:
            sys.stdout.write(f"{build(Path(name))}\n")
        except BuildFailed as error:
            sys.stderr.write(f"{name}: {error}\n")
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
