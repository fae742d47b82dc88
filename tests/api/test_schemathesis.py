"""The committed OpenAPI document, and the service fuzzed by it: no 5xx, no undocumented status.

By four callers: without a key on this machine, with the keys of an admin and of a reader, and by nobody. Once more with
an id that is there, since none that is made up is: else nothing behind the 404s is asked.
`SCHEMATHESIS_EXAMPLES` scales the examples per operation (default 4). By hand, for a release:
`SCHEMATHESIS_CASES=8000 SCHEMATHESIS_EXAMPLES=20 pytest tests/api/test_schemathesis.py -s` goes on, each time with
other examples, until every caller has sent so many; what it was worth is printed.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import httpx2
import pytest

from api.conftest import an_app, served
from making import a_listing
from mls_crm_sync.api.app import create_app, document
from mls_crm_sync.api.context import Service
from mls_crm_sync.store.database import Database
from mls_crm_sync.sync.keys import create

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "4")
CASES = int(os.environ.get("SCHEMATHESIS_CASES", "0"))
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
@pytest.mark.one_server
@pytest.mark.parametrize("caller", ["local", "known", "admin", "read", "nobody"])
async def test_fuzzed_service_keeps_to_its_document(db: Database, tmp_path: Path, caller: str) -> None:
    key = (await create(db, caller, [caller]))[1] if caller in {"admin", "read"} else None
    options: list[str] = []
    async with served(an_app(db, local_mode=caller in {"local", "known"})) as http:
        if key is not None:  # whoever revokes it would see nothing more
            options = ["--header", f"Authorization: Bearer {key}", "--exclude-operation-id", "revoke_key"]
        if caller == "known":
            options = await known_ids(http)
            (tmp_path / "schemathesis.toml").write_text('[parameters]\n"path.id" = "p"\n', encoding="utf-8")
        cases = await fuzzed(caller, str(http.base_url).rstrip("/"), options, cwd=tmp_path)
        while cases < CASES:
            cases += await fuzzed(caller, str(http.base_url).rstrip("/"), options, cwd=tmp_path)


async def known_ids(http: httpx2.AsyncClient) -> list[str]:
    """Make a listing and a CRM property that every `{id}` finds; what ends them is left out."""
    pushed = await http.post("/api/mls-properties", json={"listings": [a_listing("L") | {"property_id": "p"}]})
    made = await http.post("/api/properties", json={"id": "p"})
    assert (pushed.status_code, made.status_code) == (200, 201)
    return ["--exclude-operation-id", "delete_property", "--exclude-operation-id", "purge_mls_property"]


async def fuzzed(caller: str, base: str, options: list[str], *, cwd: Path) -> int:
    """Let schemathesis go once over all operations; return how many cases it has sent."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", str(DOCUMENT), "--url", base,
        "--checks", CHECKS, "--max-examples", EXAMPLES, "--phases", "coverage,fuzzing", "--no-color", *options,
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=cwd
    )
    out, _ = await process.communicate()

    said = out.decode()
    assert process.returncode == 0, said[-6000:]
    cases = int(re.findall(r"^\s*([\d,]+) generated", said, re.MULTILINE)[-1].replace(",", ""))
    seed = re.findall(r"^Seed: (\d+)", said, re.MULTILINE)[-1]
    print(f"schemathesis, {caller}: {cases} cases, seed {seed}")  # noqa: T201 - what a run was worth, and how to repeat it
    assert cases >= 20 * int(EXAMPLES)  # a document that could not be read would pass with none
    return cases
