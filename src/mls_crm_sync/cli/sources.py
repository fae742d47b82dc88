"""`mls-crm-sync sources`: where listings come from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .output import json_line, notice, table
from .session import sealer, with_database

if TYPE_CHECKING:
    from mls_crm_sync.store.database import Database
    from mls_crm_sync.sync.sources import Configured

app = typer.Typer(help="Sources of listings: set up, check, list, take away.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What its listings are kept under, for good.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="SETTING=VALUE", help="See `sources kinds`; repeat. Empty: unset.")
]
SecretFile = Annotated[
    str | None, typer.Option(metavar="FILE", help="The file whose first line is the secret; - is standard input.")
]
Limit = Annotated[
    list[str] | None,
    typer.Option(metavar="WINDOW=NUMBER", help="Requests a second, minute, hour, day, or bytes_minute ...; repeat."),
]
Delay = Annotated[float | None, typer.Option(min=0, max=60, help="Least seconds between two requests.")]
Default = Annotated[bool | None, typer.Option("--default/--no-default", help="Read where no source is named.")]


@app.command()
def add(
    name: Name,
    kind: Annotated[str, typer.Option(help="See `sources kinds`.")],
    set_: Set = None,
    secret_file: SecretFile = None,
    default: Default = None,
    limit: Limit = None,
    request_delay: Delay = None,
) -> None:
    """Set a source up; the first one becomes the default."""
    from mls_crm_sync.sync import sources

    settings = {key: value for key, value in _settings(set_).items() if value is not None}
    secret = _secret(secret_file)
    added = with_database(
        lambda db: sources.add(
            db, sealer(), name, kind, settings, secret=secret, default=default,
            limits=_limits(limit), request_delay=request_delay,
        )
    )  # fmt: skip
    _say("added", added)


@app.command()
def change(
    name: Name,
    set_: Set = None,
    secret_file: SecretFile = None,
    default: Default = None,
    limit: Limit = None,
    request_delay: Delay = None,
) -> None:
    """Change settings, the secret, or which one is the default; what is not named stays."""
    from mls_crm_sync.sync import sources

    secret = _secret(secret_file)
    changed = with_database(
        lambda db: sources.change(
            db, sealer(), name, settings=_settings(set_), secret=secret, default=default,
            limits=_limits(limit), request_delay=request_delay,
        )
    )  # fmt: skip
    _say("changed", changed)


@app.command()
def check(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The default one, unless named.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Let a source look whether it could be read now; exit code 1 where not."""
    from mls_crm_sync.core.listing import Normaliser
    from mls_crm_sync.sync import sources

    found = with_database(lambda db: sources.check(db, sealer(), name, Normaliser()))
    if json:
        json_line({"ok": found.ok, "detail": found.detail})
    else:
        typer.echo(f"{'ok' if found.ok else 'not ok'}: {found.detail}")
    if not found.ok:
        raise typer.Exit(1)


@app.command("list")
def list_(json: Annotated[bool, typer.Option("--json", help="One line of JSON a source.")] = False) -> None:
    """List the sources that are set up; their secrets are never shown."""
    from dataclasses import asdict

    from mls_crm_sync.sync import sources

    async def read(db: Database) -> list[Configured]:
        return await sources.every(db, sealer())

    found = with_database(read)
    if json:
        for one in found:
            json_line(asdict(one))
        return
    shown = ("name", "kind", "settings", "default", "secret", "limits", "left alone until", "stopped")
    rows = [
        [
            one.name,
            one.kind,
            one.settings,
            _flag(one.is_default),
            _told(one),
            one.limits or "",
            one.left_alone_until,
            one.stopped_at,
        ]
        for one in found
    ]
    table("Sources", shown, rows)


@app.command()
def remove(name: Name) -> None:
    """Take a source away; its listings, their history and links stay."""
    from mls_crm_sync.sync import sources

    with_database(lambda db: sources.remove(db, name))
    typer.echo(f"removed {name}; its listings stay, and nothing reads them any more")


@app.command()
def resume(name: Name) -> None:
    """Let a source that refused us (401, 403), and was not asked since, be asked again."""
    from mls_crm_sync.sync import sources

    with_database(lambda db: sources.resume(db, sealer(), name))
    typer.echo(f"{name} may be asked again")


@app.command()
def kinds() -> None:
    """List the kinds of sources there are, with their settings."""
    from mls_crm_sync.sources.registry import KINDS

    rows = []
    for kind in KINDS.values():
        needed = [name for name, field in kind.settings.model_fields.items() if field.is_required()]
        others = sorted(kind.settings.model_fields.keys() - set(needed))
        rows.append([kind.name, kind.title, ", ".join(needed), ", ".join(others), kind.credential])
    table("Kinds of sources", ("kind", "what", "needed", "optional", "secret"), rows)


@app.command("new-key")
def new_key() -> None:
    """Print a new key to seal secrets with, alone, on standard output."""
    from mls_crm_sync.sync.sealing import new_key as make

    typer.echo(make())
    notice("keep it as secret as the secrets; put before older keys, one a line, it seals and they still open")


def _settings(said: list[str] | None) -> dict[str, Any]:
    """Return `--set`s; an empty value is None."""
    found: dict[str, Any] = {}
    for one in said or ():
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise options.bad("--set", f"{one!r} is not SETTING=VALUE")
        found[key] = value or None
    return found


def _limits(said: list[str] | None) -> dict[str, int] | None:
    """Return `--limit`s; `sync` knows their names."""
    found = {}
    for one in said or ():
        name, _, number = one.partition("=")
        if not number.isascii() or not number.isdigit():
            raise options.bad("--limit", f"{one!r} is not WINDOW=NUMBER")
        found[name] = int(number)
    return found or None


def _secret(file: str | None) -> str | None:
    """Return the first line of a file: a secret on the command line could be seen by everybody on the machine."""
    if file is None:
        return None
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise options.bad("--secret-file", f"{file!r} cannot be read: {error}") from error
    return text.strip().partition("\n")[0].strip()


def _say(done: str, one: Configured) -> None:
    typer.echo(f"{done} {one.name}{', the default source' if one.is_default else ''}")
    notice(f"`mls-crm-sync sources check {one.name}` looks whether it can be read")


def _flag(value: bool) -> str:
    return "yes" if value else ""


def _told(one: Configured) -> str:
    if not one.has_secret:
        return ""
    return "sealed" if one.secret_readable else "sealed by a key that is not here"
