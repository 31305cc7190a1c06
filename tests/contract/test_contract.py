"""The API does what its OpenAPI document says, whatever it is asked, and never fails.

schemathesis makes requests of the documents, right ones and wrong ones, and holds every answer
against them. The suite makes the same ones each time; `make contract` looks for others, for as
many seconds each as CONTRACT_SECONDS says.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from infra.local.ports import HOST
from tests.scenarios.driver import Driver

HERE = Path(__file__).parent
SECONDS = int(os.environ.get("CONTRACT_SECONDS", "0"))
EFFORT = (
    ("--max-time", str(SECONDS))
    if SECONDS
    else ("--seed", "1", "--generation-deterministic", "--max-examples", "8")
)
FEWEST: Final = 100


def operator_key(hermes) -> str:
    return (hermes.stack.data_dir / "operator.key").read_text().strip()


class Api(NamedTuple):
    """Where the document is, whose key it takes, and what is left out."""

    port: str
    path: str
    key: Callable[[Driver], str]
    but: tuple[str, ...] = ()

    def url(self, hermes: Driver) -> str:
        return f"http://{HOST}:{getattr(hermes.ports, self.port)}{self.path}"


APIS = {
    "tenants": Api("api", "/openapi.json", lambda hermes: hermes.stack.keys["acme"]),
    # A key is revoked, not forgotten: what it was and when it ended can still be read.
    "operators": Api(
        "api", "/admin/v1/openapi.json", operator_key, ("--exclude-checks", "use_after_free")
    ),
    # A carrier that is added is dialed, wherever it is said to be.
    "pool": Api("pool", "/admin/v1/openapi.json", operator_key, ("--include-method", "GET")),
}


@pytest.mark.parametrize("api", APIS.values(), ids=APIS)
def test_the_api_keeps_to_its_document(hermes, api, tmp_path):
    authorization = f"Authorization: Bearer {api.key(hermes)}"
    command = [
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(HERE / "schemathesis.toml")),
        *("run", api.url(hermes), "--header", authorization, *api.but),
        *("--checks", "all", *EFFORT, "--continue-on-failure"),
        *("--request-timeout", "20", "--workers", "1", "--no-color", "--warnings", "off"),
    ]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.contract.hooks",
        "PYTHONPATH": str(HERE.parents[1]),
    }
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * SECONDS + 120,
    )
    report = done.stdout[-20_000:] + done.stderr[-2_000:]
    assert done.returncode == 0, report
    sys.stdout.write(report[report.find("= SUMMARY =") :])  # for `pytest -s`
    asked = re.search(r"(\d+) generated", done.stdout)
    assert asked is not None, report
    assert int(asked[1]) > max(SECONDS, FEWEST), report


@pytest.mark.parametrize("api", APIS.values(), ids=APIS)
def test_the_document_is_valid(hermes, api):
    headers = {"authorization": f"Bearer {api.key(hermes)}"}
    document = httpx.get(api.url(hermes), headers=headers).json()
    assert document["openapi"].startswith("3.1")
    validate(document, cls=OpenAPIV31SpecValidator)
