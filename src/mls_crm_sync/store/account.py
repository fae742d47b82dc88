"""Under whose name the embedded PostgreSQL runs, and whose the folders are.

An ordinary user runs it as himself. PostgreSQL refuses root, so root runs it under a system account. Of
folders, only those that we made are ever given away or chmodded.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mls_crm_sync.core.errors import SetupError

ACCOUNT = "mls-crm-sync"


@dataclass(frozen=True)
class Account:
    """Somebody else than ourselves to run PostgreSQL as."""

    name: str
    uid: int
    gid: int


def account_for(data: Path) -> Account | None:
    """Return who runs the server on `data`: None for ourselves; for root its owner, once there is one."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(FileNotFoundError):
        seen = data.stat()
        if seen.st_uid != 0:
            return Account(_name_of(seen.st_uid), seen.st_uid, seen.st_gid)
    return _known(ACCOUNT) or _known("postgres") or _created() or _known("nobody") or _no_account()


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _known(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(name, entry.pw_uid, entry.pw_gid)


def _created() -> Account | None:
    useradd = shutil.which("useradd")
    if useradd is None:
        return None
    nobodys = ["--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
    subprocess.run([useradd, *nobodys, ACCOUNT], check=False, capture_output=True)  # noqa: S603 # fixed arguments
    return _known(ACCOUNT)


def _no_account() -> Account:
    raise SetupError(
        "PostgreSQL does not run as root and there is no account to run it as",
        hint=f"create one: useradd --system {ACCOUNT}",
    )


def give(folder: Path, account: Account | None) -> None:
    """Hand a folder that we made to the account; without an account it stays ours."""
    if account is not None:
        os.chown(folder, account.uid, account.gid)


def make_home(home: Path) -> None:
    """Make the folder, and its parents, whatever the umask: private for a user, passable for root's account."""
    if home.exists():
        return
    make_home(home.parent)
    new = Path(tempfile.mkdtemp(prefix=f".{home.name}-", dir=home.parent))
    new.chmod(0o711 if os.geteuid() == 0 else 0o700)
    try:
        new.rename(home)
    except OSError:  # somebody else was first, and has begun to fill it
        new.rmdir()
        if not home.is_dir():
            raise


def require_way(home: Path, account: Account) -> None:
    """Raise SetupError, naming the folder, where the account may not pass on its way to `home`."""
    for folder in (*reversed(home.parents), home):
        if not _may_pass(folder.stat(), account):
            raise SetupError(
                f"the account {account.name!r}, under which root runs PostgreSQL, may not enter {folder}",
                hint=f"set MLS_CRM_SYNC_HOME to a folder elsewhere, or let it through: chmod o+x {folder}",
            )


def _may_pass(seen: os.stat_result, account: Account) -> bool:
    if seen.st_uid == account.uid:
        return bool(seen.st_mode & stat.S_IXUSR)
    if seen.st_gid == account.gid:
        return bool(seen.st_mode & stat.S_IXGRP)
    return bool(seen.st_mode & stat.S_IXOTH)


def make_private(folder: Path, account: Account | None) -> None:
    """Make an empty 0700 folder of the account's. Somebody else's (/tmp is open) is refused."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    seen = folder.lstat()
    owners = {os.geteuid(), os.geteuid() if account is None else account.uid}
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid not in owners or seen.st_mode & 0o077:
        raise SetupError(f"{folder} is not a private folder of ours", hint="look who made it, then remove it")
    for left_over in folder.iterdir():
        left_over.unlink()
    give(folder, account)
