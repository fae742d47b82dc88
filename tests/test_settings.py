"""Settings: from the environment alone, and a bad one is told by name, not by value."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from mls_crm_sync import settings
from mls_crm_sync.core.errors import SetupError
from mls_crm_sync.settings import Settings

NAMES = [
    "DATABASE_URL",
    "MLS_CRM_SYNC_HOME",
    "MLS_CRM_SYNC_PG_BIN",
    "MLS_CRM_SYNC_ALLOW_UNSAFE_DATABASE",
    "STALE_AFTER_HOURS",
]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_nothing_set_means_the_embedded_database_and_twelve_hours() -> None:
    defaults = Settings()

    assert (defaults.database_url, defaults.pg_bin, defaults.allow_unsafe_database) == (None, None, False)
    assert defaults.stale_after == timedelta(hours=12)
    assert defaults.home == settings.default_home()


def test_every_setting_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(NAMES, ["postgres://db/crm", "/data", "/usr/pg", "1", "1.5"], strict=True):
        monkeypatch.setenv(name, value)

    assert Settings() == Settings(
        database_url="postgres://db/crm",
        home=Path("/data"),
        pg_bin=Path("/usr/pg"),
        allow_unsafe_database=True,
        stale_after=timedelta(hours=1.5),
    )


def test_root_gets_the_machines_place_and_a_user_his_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert settings.default_home() == Path("/var/lib/mls-crm-sync")

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert settings.default_home().is_relative_to("/home/anna")


def test_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")

    assert Settings().database_url is None
    assert Settings().stale_after == timedelta(hours=12)


def test_env_file_in_the_working_directory_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://from-a-file/x\n")
    monkeypatch.chdir(tmp_path)

    assert Settings().database_url is None


def test_relative_home_is_taken_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLS_CRM_SYNC_HOME", "here")

    assert Settings().home == tmp_path / "here"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://anna:secret@db/crm"),
        ("STALE_AFTER_HOURS", "soon-secret"),
        ("STALE_AFTER_HOURS", "0"),
        ("STALE_AFTER_HOURS", "-3"),
        ("STALE_AFTER_HOURS", "nan"),
        ("STALE_AFTER_HOURS", "1e400"),
        ("MLS_CRM_SYNC_ALLOW_UNSAFE_DATABASE", "secret"),
    ],
)
def test_bad_value_is_refused_by_name_without_being_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SetupError, match=name) as refused:
        Settings()
    assert "secret" not in str(refused.value)


def test_password_of_the_database_is_not_in_the_representation() -> None:
    assert "hunter2" not in repr(Settings(database_url="postgresql://anna:hunter2@db/crm"))
