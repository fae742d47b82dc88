"""`mls-crm-sync keys`: who may call the HTTP service."""

from __future__ import annotations

from typing import Annotated

import typer

from .output import json_line, notice, table
from .session import with_database

app = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.")],
    scope: Annotated[list[str], typer.Option(help="read, write:crm, write:links, write:config, run or admin; repeat.")],
) -> None:
    """Make a key and print it, alone, on standard output. It is shown this once."""
    from mls_crm_sync.sync import keys

    key_id, key = with_database(lambda db: keys.create(db, name, scope))
    notice(f"key {key_id}; it is kept nowhere, so keep it now")
    typer.echo(key)


@app.command("list")
def list_(json: Annotated[bool, typer.Option("--json", help="One line of JSON a key.")] = False) -> None:
    """List keys, the revoked ones too."""
    from mls_crm_sync.store import keys
    from mls_crm_sync.store.database import Database, Row

    async def read(db: Database) -> list[Row]:
        async with db.connection() as conn:
            return await keys.every(conn)

    found = with_database(read)
    if json:
        for row in found:
            json_line(dict(row))
        return
    shown = ("key_id", "name", "scopes", "created_at", "revoked_at")
    table("API keys", shown, [[row[name] for name in shown] for row in found])


@app.command()
def revoke(key_id: Annotated[int, typer.Argument(metavar="KEY_ID")]) -> None:
    """Revoke a key at once and for good."""
    from mls_crm_sync.sync import keys

    with_database(lambda db: keys.revoke(db, key_id))
    typer.echo(f"revoked key {key_id}")
