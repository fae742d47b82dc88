"""A PostgreSQL of a test's own, which can be away, and be reached over TCP."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from mls_crm_sync.store import embedded
from mls_crm_sync.store.embedded import EmbeddedPostgres


class Postgres:
    """A server of the test's own, which can be away."""

    def __init__(self, home: Path, pg_bin: Path | None, *, tcp: bool = False) -> None:
        """`tcp`: on 127.0.0.1 too, at the port that the launcher gives it (`embedded.PORT`)."""
        self._owner = EmbeddedPostgres(home, pg_bin=pg_bin, options={"listen_addresses": "127.0.0.1"} if tcp else None)
        self.dsn = f"{self._owner.start()}&port={embedded.PORT}"
        if tcp:
            access = self._owner.data / "pg_hba.conf"
            access.write_text(access.read_text(encoding="utf-8").replace("reject", "trust"), encoding="utf-8")
            self._control("reload")

    @property
    def tcp_dsn(self) -> str:
        parts = urlsplit(self.dsn)
        return f"postgresql://{parts.username}@127.0.0.1:{embedded.PORT}{parts.path}"

    def stop(self, way: str) -> None:
        self._control("stop", "-m", way, "-w", "-t", "30")

    def start(self) -> None:
        self._owner._ensure_running()

    def close(self) -> None:
        self._owner.stop()

    def _control(self, verb: str, *options: str) -> None:
        done = self._owner._programs.run("pg_ctl", verb, "-D", str(self._owner.data), *options)
        assert done.code == 0, done.text
