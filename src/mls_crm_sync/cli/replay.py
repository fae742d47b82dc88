"""`mls-crm-sync replay`: stored payloads made again by today's field table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .output import ProgressLine, count, json_line, notice, one_line, table
from .session import with_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mls_crm_sync.sync.replay import Diff, Progress


def replay(
    source: Annotated[str | None, typer.Option(help="Its listings alone; all, unless named.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would change; write nothing.")] = False,
    time_zone: Annotated[
        str | None,
        typer.Option(help="IANA zone of time stamps that carry none; a source that is set up has its own."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")] = False,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON a field, and one at the end.")] = False,
) -> None:
    """Bring listings that an older field table made into today's form, from their stored payloads; asks nobody."""
    from mls_crm_sync.core.errors import InvalidInput
    from mls_crm_sync.core.listing import Normaliser
    from mls_crm_sync.sync import replay as verb

    where = options.zone("--time-zone", time_zone)
    if not dry_run:
        options.check_can_ask(yes=yes)
    normaliser = Normaliser()
    show = _line("looked at", quiet=json)
    try:
        found = with_database(lambda db: verb.preview(db, normaliser, source=source, time_zone=where, progress=show))
    except InvalidInput as error:
        raise options.bad("--source", error.detail) from error
    _show(found, as_json=json)
    if dry_run:
        _end(found, as_json=json, dry_run=True)
        return
    if not found.listings:
        _end(found, as_json=json, runs=[])
        return
    options.ask(f"Bring {count(found.listings, 'listing')} into today's form?", yes=yes)
    show = _line("brought into today's form", quiet=json)
    done = with_database(
        lambda db: verb.replay(db, normaliser, source=source, time_zone=where, progress=show), bulk=True
    )
    _end(done.diff, as_json=json, runs=done.runs, seconds=round(done.seconds, 3))
    if done.diff.unreadable:
        raise typer.Exit(1)


def _line(words: str, *, quiet: bool) -> Callable[[Progress], None]:
    line = ProgressLine(quiet=quiet)

    def show(progress: Progress) -> None:
        text = f"{progress.source}: {progress.done:,} of {progress.of:,} listings {words}"
        line(text, last=progress.done >= progress.of)

    return show


def _show(diff: Diff, *, as_json: bool) -> None:
    """What differs, field by field."""
    found = sorted(diff.fields.items())
    if as_json:
        for name, one in found:
            examples = [example._asdict() for example in one.examples]
            json_line({"field": name, "listings": one.listings, "examples": examples})
    elif found:
        rows = [(name, one.listings, "; ".join(_examples(one.examples))) for name, one in found]
        table("What today's field table changes", ("field", "listings", "for example"), rows)


def _examples(examples: list[Any]) -> Iterator[str]:
    for example in examples:
        yield f"{one_line(example.previous) or '-'} -> {one_line(example.new) or '-'} ({one_line(example.listing_key)})"


def _end(diff: Diff, *, as_json: bool, dry_run: bool = False, **more: Any) -> None:  # noqa: ANN401 # JSON values
    if as_json:
        numbers = {name: getattr(diff, name) for name in ("listings", "changed", "same", "unreadable", "crm_updated")}
        unread = [one._asdict() for one in diff.unread]
        kept = {"refused": dict(sorted(diff.refused.items())), "unreadable_examples": unread}
        json_line({**numbers, **kept, **more, **({"dry_run": True} if dry_run else {})})
        return
    would = "would " if dry_run else ""
    done = "change" if dry_run else "changed"
    typer.echo(
        f"{count(diff.listings, 'listing')} of an older field table: {diff.changed:,} {would}{done}, "
        f"{diff.same:,} the same in today's form; {count(diff.crm_updated, 'CRM property', 'CRM properties')} "
        + ("would follow - dry run, nothing was written" if dry_run else "followed")
        + (f" (run {', '.join(map(str, more['runs']))})" if more.get("runs") else "")
    )
    for name, times in sorted(diff.refused.items()):
        notice(f"{name}: today's table refuses the stored value of {count(times, 'listing')}, whose form stays")
    if diff.unreadable:
        notice(f"{count(diff.unreadable, 'listing')} whose stored payload cannot be read stay as they are; the first:")
        for one in diff.unread:
            notice(f"  {one.property_id} ({one.listing_key}): {one.reason}: {one.detail}")
