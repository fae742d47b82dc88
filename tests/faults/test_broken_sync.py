"""The integration script finds faults: with one planted in the product it ends with an error that names the step.

Each fault is one text put in another's place in a copy of the package, which the script's service then runs. A text
that is no longer in its file exactly once fails the test instead of making it void.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import mls_crm_sync

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "test_mls_crm_integration.py"
PACKAGE = Path(mls_crm_sync.__file__).parent
OLDEST_PYTHON = (3, 6)  # that hands over to the project's own


@dataclass(frozen=True)
class Fault:
    """What stands in a file of the package, what a careless hand makes of it, and the step that has to notice."""

    step: int
    file: str
    was: str
    becomes: str

    def plant(self, package: Path) -> None:
        file = package / self.file
        text = file.read_text()
        assert text.count(self.was) == 1, f"{self.file} has changed: plant this fault anew"
        file.write_text(text.replace(self.was, self.becomes))


CRM, LISTINGS = "store/crm_properties.sql", "store/listings.sql"

FAULTS: Mapping[str, Fault] = {
    "links are not written": Fault(
        2, CRM, "SET mls_property_id = i.property_id,", "SET mls_property_id = c.mls_property_id,"
    ),
    "linking leaves the fields to the next delivery": Fault(
        2, "sync/links.py", "done.synced = await crm_properties.bring_in_step_only(conn, done.links, unsynced)", "pass"
    ),
    "what is private at the MLS goes to the CRM": Fault(
        2, CRM, "p.fields::jsonb - $2::text[] AS fields", "p.fields::jsonb - $2::text[] || p.fields::jsonb AS fields"
    ),
    "overrides are ignored": Fault(
        2, "core/ownership.py", "return {**own, **fields, **overrides}", "return {**own, **fields}"
    ),
    "CRM properties of a listing come in any order": Fault(
        2, LISTINGS, "ORDER BY c.id) AS crm_property_ids", "ORDER BY c.id DESC) AS crm_property_ids"
    ),
    "fields are not updated on a change": Fault(
        3, "store/changed.sql", "WHERE property_id IN (SELECT mls_property_id FROM o)", "WHERE false"
    ),
    "fields are updated in one of two": Fault(
        3, CRM, "FROM o JOIN w",
        "FROM (SELECT DISTINCT ON (mls_property_id) * FROM o ORDER BY mls_property_id) AS o JOIN w",
    ),
    "a sync writes notes over": Fault(
        3, CRM, "SET fields = w.fields,",
        "SET notes = CASE WHEN o.fields = '{}' THEN c.notes ELSE w.fields ->> 'PublicRemarks' END, fields = w.fields,",
    ),
    "a sync drops overrides that the MLS contradicts": Fault(
        3, CRM, "SET fields = w.fields,",
        "SET overrides = CASE WHEN o.fields = '{}' THEN c.overrides ELSE '{}' END, fields = w.fields,",
    ),
    "the history leaves the price out": Fault(
        3, "sync/apply.py", "for w in self._changed() for change in w.changes]",
        'for w in self._changed() for change in w.changes if change.field != "ListPrice"]',
    ),
    "the history names what did not change": Fault(
        3, "core/changes.py", "for name in before if name not in after]",
        'for name in before if name not in after or name == "City"]',
    ),
    "a sync by hand writes what does not differ": Fault(4, CRM, "AND o.fields IS DISTINCT FROM w.fields", ""),
    "a sync by hand does nothing": Fault(
        4, "sync/links.py", "synced = await crm_properties.bring_in_step(conn, property_ids, unsynced)",
        "synced: list[Synced] = []",
    ),
    "a sync by hand counts listings": Fault(
        4, CRM, "SELECT count(*) FROM crm_properties WHERE mls_property_id = ANY",
        "SELECT count(DISTINCT mls_property_id) FROM crm_properties WHERE mls_property_id = ANY",
    ),
    "unlinking cuts nothing": Fault(
        4, CRM, "SET mls_property_id = NULL, fields = CASE", "SET mls_property_id = mls_property_id, fields = CASE"
    ),
    "references are not removed": Fault(5, "sync/links.py", "await _unlink(crm_id, False, conn)", "pass"),
    "a CRM property is not deleted": Fault(
        5, CRM, "DELETE FROM crm_properties WHERE id = $1", "DELETE FROM crm_properties WHERE id = $1 AND false"
    ),
    "a purge is left out": Fault(5, "sync/purge.py", "await listings.empty(conn, property_ids)", "pass"),
    "a purge leaves the fields": Fault(5, LISTINGS, "SET fields = '{}', standard", "SET fields = fields, standard"),
    "a purge leaves the payload": Fault(5, LISTINGS, "payload = NULL, purged_at", "payload = payload, purged_at"),
    "a purge leaves the history": Fault(
        5, LISTINGS, "DELETE FROM property_changes WHERE property_id = ANY ($1::text[])",
        "DELETE FROM property_changes WHERE property_id = ANY ($1::text[]) AND false",
    ),
    "a purge leaves the quarantine": Fault(
        5, "store/quarantine.sql", "WHERE p.property_id = ANY ($1::text[]) AND l.source",
        "WHERE p.property_id = ANY ($1::text[]) AND false AND l.source",
    ),
    "a purge takes every listing's history": Fault(
        5, LISTINGS, "DELETE FROM property_changes WHERE property_id = ANY ($1::text[])",
        "DELETE FROM property_changes WHERE property_id = ANY ($1::text[]) OR true",
    ),
}  # fmt: skip


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a copy of the package, to be broken."""
    copy = tmp_path / "src" / PACKAGE.name
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def with_package(package: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(package.parent)}


def run_script(package: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Run the script on this package, its temporary files in `home`; it leaves none."""
    home.mkdir(mode=0o711)  # root's PostgreSQL runs under another account, which has to pass through
    environment = {**with_package(package), "TMPDIR": str(home)}
    done = subprocess.run(
        [sys.executable, SCRIPT], env=environment, cwd=home.parent, capture_output=True, text=True, check=False
    )
    assert list(home.iterdir()) == [], done.stderr
    return done


def test_unbroken_copy_passes(package: Path, home: Path) -> None:
    look = [sys.executable, "-c", "import mls_crm_sync as package; print(package.__file__)"]
    used = subprocess.run(look, env=with_package(package), capture_output=True, text=True, check=True).stdout
    assert Path(used.strip()).parent == package

    done = run_script(package, home)

    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == [f"step {number}" for number in range(1, 6)]


@pytest.mark.parametrize("fault", FAULTS)
def test_script_finds(fault: str, package: Path, home: Path) -> None:
    planted = FAULTS[fault]
    planted.plant(package)

    done = run_script(package, home)

    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"FAILED step {planted.step} ("), line
    assert "expected" in line
    assert "got" in line
    assert done.stdout.count("\n") == planted.step - 1, done.stdout


def test_script_can_be_read_by_an_old_python_with_nothing_installed() -> None:
    tree = ast.parse(SCRIPT.read_text(), feature_version=OLDEST_PYTHON)

    imported = {a.name for node in tree.body if isinstance(node, ast.Import) for a in node.names}
    imported |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names - {"__future__"}  # 3.6 has no such


def test_script_hands_over_only_once(tmp_path: Path) -> None:
    """An environment that is not taken for what it is must not be entered again and again."""
    copy = tmp_path / SCRIPT.name  # there is no .venv beside it
    shutil.copy(SCRIPT, copy)

    environment = {**os.environ, "MLS_CRM_SYNC_INTEGRATION_HANDED_OVER": "1"}
    done = subprocess.run([sys.executable, copy], env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("FAILED expected ")
