"""The peers: other well-kept ways to load the same listings into PostgreSQL, for a speed to stand beside.

Each lives in a folder of its own: `load.py` upserts a file of listings as its documentation advises, at the best
settings found; the lock file says of what its environment is made. They do less than we do: no history, no CRM
properties, no events. Nothing of them is imported here; they run as processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import asyncpg

FOLDER = Path(__file__).parent
ENVIRONMENTS = FOLDER.parents[1] / ".venv-peers"
LOAD_TIMEOUT = 3600.0  # seconds

PRICES = {
    "dlt": "SELECT count(*) AS listings, sum(list_price) AS prices FROM peer_dlt.listings",
    "dlt tuned": "SELECT count(*) AS listings, sum(list_price) AS prices FROM peer_dlt_tuned.listings",
    "target_postgres": "SELECT count(*) AS listings, sum(listprice) AS prices FROM peer_target_postgres.listings",
    "orm": "SELECT count(*) AS listings, sum(list_price) AS prices FROM peer_orm.listings",
}
"""What a peer must have stored, asked of its own table. A second word of a name is how it is set; the columns are named
as each peer makes them of RESO's.
"""

NAMES = tuple(PRICES)


class PeerFailed(Exception):
    """A peer's environment could not be made, or its load ended badly; the text is what it wrote."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load took, without the interpreter's start and its imports; `rows` are all in its table afterwards."""

    seconds: float
    rows: int
    max_rss_mb: float


def prepare(name: str) -> Path:
    """Make the peer's environment where it is missing or its lock files changed; return its Python.

    `build.lock` comes first: with what the releases are built that come as source alone, pinned like the rest.
    """
    name = name.split(maxsplit=1)[0]
    home = ENVIRONMENTS / name
    python, stamp = home / "bin" / "python", home / "made-of"
    locks = [lock for lock in (FOLDER / name / "build.lock", FOLDER / name / "requirements.lock") if lock.exists()]
    made_of = f"{sys.version} {hashlib.sha256(b''.join(lock.read_bytes() for lock in locks)).hexdigest()}"
    if python.exists() and stamp.exists() and stamp.read_text() == made_of:
        return python
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (ENVIRONMENTS / ".gitignore").write_text("*\n")
    _run(name, [sys.executable, "-m", "venv", str(home)])
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    for lock in locks:
        _run(name, [*pip, "install", "--no-build-isolation", "--require-hashes", "--requirement", str(lock)])
    stamp.write_text(made_of)
    return python


def load(name: str, dsn: str, file: Path) -> Loaded:
    """Let the peer upsert a file of JSON Lines; its first load of a database makes its tables.

    Whatever it writes beside the database goes into a temporary folder. Raises PeerFailed.
    """
    python = prepare(name)
    folder, *settings = name.split()
    with tempfile.TemporaryDirectory(prefix=f"peer-{folder}-") as home:
        own = {"PEER_HOME": home, "HOME": home, "TMPDIR": home}
        command = [str(python), str(FOLDER / folder / "load.py"), dsn, str(file.resolve()), *settings]
        said = _run(name, command, cwd=home, env={**os.environ, **own})
    return Loaded(**json.loads(said.splitlines()[-1]))


async def check(name: str, dsn: str, expected_price_sum: float, expected_rows: int) -> None:
    """Assert that the peer stored what it was given: its number of listings, and the sum of their ListPrice."""
    conn = await asyncpg.connect(dsn)
    try:
        row = await conn.fetchrow(PRICES[name])
    finally:
        await conn.close()
    assert row is not None
    seen, expected = (row["listings"], Decimal(row["prices"])), (expected_rows, Decimal(expected_price_sum))
    assert seen == expected, f"{name}: {seen}, not {expected}"


def _run(name: str, command: list[str], *, cwd: str | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=LOAD_TIMEOUT
    )  # fmt: skip
    if done.returncode:
        raise PeerFailed(f"{name} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout
