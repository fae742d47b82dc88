"""The committed OpenAPI document, and the service fuzzed by it: no 5xx, no undocumented status.

`SCHEMATHESIS_EXAMPLES` scales the examples per operation (default 8).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import httpx2
import pytest

from mls_crm_sync.api.app import create_app, document
from mls_crm_sync.api.context import Service

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "8")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_committed_document_is_what_the_code_says() -> None:
    """`make openapi` writes it anew."""
    app = create_app(Service(None, None, None, None), local_mode=True)  # type: ignore[arg-type] # nothing is served

    assert json.loads(DOCUMENT.read_text(encoding="utf-8")) == document(app)


def test_operation_ids_are_stable_words() -> None:
    paths = json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"]
    ids = [operation["operationId"] for path in paths.values() for operation in path.values()]

    assert len(ids) == len(set(ids))
    assert all(name.replace("_", "").isalpha() and name == name.lower() for name in ids)


@pytest.mark.slow
async def test_fuzzed_service_keeps_to_its_document(http: httpx2.AsyncClient) -> None:
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{http.base_url}/api/openapi.json".replace("//api", "/api"),
        "--checks", CHECKS, "--max-examples", EXAMPLES, "--phases", "coverage,fuzzing", "--no-color",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd="/"
    )
    out, _ = await process.communicate()

    assert process.returncode == 0, out.decode()[-6000:]
    print(out.decode()[-600:])  # noqa: T201 - cases and seed
