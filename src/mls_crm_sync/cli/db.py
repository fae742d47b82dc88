"""`mls-crm-sync db`: what an administrator does with the database. Errors are told by `cli`, for all
commands.
"""

from __future__ import annotations

from pathlib import Path  # typer reads the annotations when it runs
from typing import Annotated

import typer

from .session import on_a_loop

app = typer.Typer(no_args_is_help=True, help="Migrate, back up and restore the database.")


@app.command()
def migrate() -> None:
    """Bring the database up to date. Every other command does so by itself."""
    from mls_crm_sync import wiring  # keeps the CLI's start fast
    from mls_crm_sync.settings import Settings

    done = on_a_loop(wiring.migrate_database(Settings()))
    typer.echo("\n".join(f"applied {name}" for name in done) or "nothing to do")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Where to write it; a file of that name is replaced.")],
) -> None:
    """Write the whole database to FILE, while everything goes on."""
    from mls_crm_sync import wiring  # keeps the CLI's start fast
    from mls_crm_sync.settings import Settings

    size = on_a_loop(wiring.backup_database(Settings(), file))
    typer.echo(f"wrote {file}, {size:,} bytes")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `db backup` wrote.", exists=True, dir_okay=False)],
    *,
    replace: Annotated[bool, typer.Option("--replace", help="Drop everything in the database first.")] = False,
) -> None:
    """Bring the database to what FILE holds: all of it, or nothing is changed."""
    from mls_crm_sync import wiring  # keeps the CLI's start fast
    from mls_crm_sync.settings import Settings

    done = on_a_loop(wiring.restore_database(Settings(), file, replace=replace))
    typer.echo(f"restored {file}")
    for name in done:
        typer.echo(f"applied {name}")
