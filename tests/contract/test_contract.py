"""The API does what its OpenAPI document says, whatever it is asked, and never fails.

schemathesis makes requests of the documents, right ones and wrong ones, and holds every answer
against them. `make contract` gives it half an hour; the suite, CONTRACT_SECONDS each.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

HERE = Path(__file__).parent
SECONDS = int(os.environ.get("CONTRACT_SECONDS", "25"))


def operator_key(hermes) -> str:
    return (hermes.stack.data_dir / "operator.key").read_text().strip()


APIS = {
    # where the document is, and whose key it takes
    "tenants": ("/openapi.json", lambda hermes: hermes.stack.keys["acme"]),
    "operators": ("/admin/v1/openapi.json", operator_key),
}


@pytest.mark.parametrize(("path", "key"), APIS.values(), ids=APIS)
def test_the_api_keeps_to_its_document(hermes, path, key, tmp_path):
    authorization = f"Authorization: Bearer {key(hermes)}"
    command = [
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(HERE / "schemathesis.toml")),
        *("run", hermes.stack.api_url + path, "--header", authorization),
        *("--checks", "all", "--max-time", str(SECONDS), "--continue-on-failure"),
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
    asked = re.search(r"(\d+) generated", done.stdout)
    assert asked is not None, report
    assert int(asked[1]) > 10 * SECONDS, report


@pytest.mark.parametrize(("path", "key"), APIS.values(), ids=APIS)
def test_the_document_is_valid_and_has_examples(hermes, path, key):
    headers = {"authorization": f"Bearer {key(hermes)}"}
    document = httpx.get(hermes.stack.api_url + path, headers=headers).json()
    assert document["openapi"].startswith("3.1")
    validate(document, cls=OpenAPIV31SpecValidator)
