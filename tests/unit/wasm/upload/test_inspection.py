"""Looking into components, in the process that does it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.wasm.upload import check
from adapters.wasm.upload.inspection import Inspector
from adapters.wasm.upload.refusal import Refused
from tests.unit.wasm.bundles import assembled, component

WELL = (Path(__file__).parents[1] / "well.wat").read_text()
WASI = '(import "wasi:cli/environment@0.2.0" (instance (export "get-environment" (func))))'
FOREIGN = '(import "hermes:adapter/host@1.0.0" (instance (export "send-http" (func))))'
OTHERWISE = (
    '(import "hermes:adapter/host@1.0.0" (instance (export "log" (func (param "level" u32)))))'
)


def importing(interface: str) -> bytes:
    return assembled(WELL.replace("(component\n", f"(component {interface}\n", 1))


REFUSED = {
    "nothing": (b"\0asm", "compile", ""),
    "a module instead of a component": (assembled("(module)"), "compile", ""),
    "noise": (b"\0asm" + os.urandom(5000), "compile", ""),
    "cut off": (component()[:-40], "compile", ""),
    "an import of WASI": (importing(WASI), "imports", "wasi:cli/environment@0.2.0"),
    "an import that the host has not": (importing(FOREIGN), "imports", "send-http"),
    "an import of another type": (importing(OTHERWISE), "imports", "log"),
    "no exports": (assembled("(component)"), "exports", "hermes:adapter/plugin@1.0.0"),
    "an export too few": (
        assembled(WELL.replace('(export "on-message" (func $answer))', "")),
        "exports", "on-message",
    ),
    "an export of another type": (
        assembled(WELL.replace('"on-message" (func $answer)', '"on-message" (func $health)')),
        "exports", "on-message",
    ),
    "another version of the contract": (
        assembled(WELL.replace("plugin@1.0.0", "plugin@2.0.0")), "exports", "plugin@1.0.0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
async def test_a_component_that_is_refused(tmp_path, case):
    content, kind, finding = REFUSED[case]
    (tmp_path / "component").write_bytes(content)
    with pytest.raises(Refused) as refused:
        await Inspector()(tmp_path / "component")
    assert refused.value.check == kind, refused.value
    assert finding in refused.value.finding
    assert str(tmp_path) not in refused.value.finding


async def test_a_component_that_is_taken(tmp_path):
    (tmp_path / "component").write_bytes(component())
    adopted = []
    await Inspector(lambda *given: adopted.append(given))(tmp_path / "component")
    [(name, native)] = adopted
    assert name == "component"
    assert native.stat().st_size > 0


async def test_one_whose_native_code_cannot_be_kept_is_taken(tmp_path):
    def full(digest: str, native: Path) -> None:
        raise OSError("no space left")

    (tmp_path / "component").write_bytes(component())
    await Inspector(full)(tmp_path / "component")


LIMITED = """
import os, resource, sys
from adapters.wasm.upload import check
check.limit()
{attempt}
"""
ATTEMPTS = {
    "memory": f"bytes({check.MEMORY})",
    "room on the disk": "os.pwrite(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY), b'x',"
    f" {check.OUTPUT})",
    "a core": "resource.getrlimit(resource.RLIMIT_CORE) == (0, 0) and sys.exit(1)",
    "time": f"resource.getrlimit(resource.RLIMIT_CPU) == ({check.CPU_SECONDS},) * 2"
    " and sys.exit(1)",
    "processes": "resource.getrlimit(resource.RLIMIT_NPROC)[1] < 100_000 and sys.exit(1)",
}


@pytest.mark.parametrize("what", ATTEMPTS)
def test_what_it_may_not_have_it_does_not_get(tmp_path, what):
    script = LIMITED.format(attempt=ATTEMPTS[what])
    command = [sys.executable, "-c", script, str(tmp_path / "file")]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1


def bomb() -> bytes:
    """Small as a file, and long to compile."""
    step = "(local.set 0 (i32.mul (local.get 0) (i32.add (local.get 0) (i32.const 7))))"
    return assembled(f"(component (core module (func (param i32) {step * 5000})))")


async def test_what_takes_too_long_is_ended(tmp_path):
    (tmp_path / "component").write_bytes(bomb())
    with pytest.raises(Refused, match="too much time"):
        await Inspector(patience=0.05)(tmp_path / "component")
    assert not list_of_checks(tmp_path)


async def test_whoever_does_not_wait_for_it_leaves_no_process(tmp_path):
    (tmp_path / "component").write_bytes(bomb())
    waiting = asyncio.create_task(Inspector()(tmp_path / "component"))
    await asyncio.wait({waiting}, timeout=0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not list_of_checks(tmp_path)


def list_of_checks(tmp_path: Path) -> list[str]:
    """The processes that look into a file below a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes()
        except OSError:
            continue
        if str(tmp_path).encode() in command:
            found.append(command.decode())
    return found


@pytest.mark.parametrize(
    ("ends", "finding"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "too much time"),
        ("import os; os.abort()", "memory"),
        ("import sys; sys.exit(1)", "memory"),
        ("print('no JSON')", "memory"),
        ('print(\'{"check": "unheard of", "finding": "x"}\')', "x"),
    ],
)
async def test_however_the_process_ends_it_is_told(tmp_path, monkeypatch, ends, finding):
    (tmp_path / "ending.py").write_text(ends)
    monkeypatch.setattr("adapters.wasm.upload.inspection._ROOT", str(tmp_path))
    with pytest.raises(Refused, match=finding) as refused:
        await Inspector(module="ending")(tmp_path / "component")
    assert refused.value.check == "compile"


async def test_none_of_our_secrets_is_in_its_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HERMES_ADMIN__KEY", "hok_hush")
    (tmp_path / "ending.py").write_text(
        "import os, json; print(json.dumps({'check': 'compile', 'finding': str(dict(os.environ))}))"
    )
    monkeypatch.setattr("adapters.wasm.upload.inspection._ROOT", str(tmp_path))
    with pytest.raises(Refused) as refused:
        await Inspector(module="ending")(tmp_path / "component")
    assert "hush" not in refused.value.finding
