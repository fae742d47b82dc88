"""What a reading did, in words: the same for files and for sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from .output import count, json_line, notice

if TYPE_CHECKING:
    from mls_crm_sync.sync.ingest import IngestResult
    from mls_crm_sync.sync.tally import Tally


def report(result: IngestResult, *, as_json: bool, **more: Any) -> None:  # noqa: ANN401 # JSON values
    """`more`: members of the line of JSON that this reading alone has."""
    if as_json:
        ending = {"seconds": round(result.seconds, 3), "run_id": result.run_id, "status": result.status}
        json_line({**more, **numbers(result.tally), **ending})
    else:
        say(result.tally, f"in {result.seconds:.1f} s (run {result.run_id})")


def say_what_followed(result: IngestResult) -> None:
    """Tell whom a complete pass proved gone, and what waits for a person."""
    if result.settled.absent:
        notice(f"{count(result.settled.absent, 'listing')} called absent: `mls-crm-sync listings list --state absent`")
    if result.settled.held:
        notice(
            f"{count(result.settled.held, 'listing')} would vanish at once and wait for a person: "
            "`mls-crm-sync absences holds`"
        )


def numbers(tally: Tally) -> dict[str, Any]:
    share = tally.recognised / tally.unchanged if tally.unchanged else None
    return {**tally.as_dict(), "recognised_share": None if share is None else round(share, 4)}


def say(tally: Tally, ending: str, *, kept: bool = True) -> None:
    """`kept`: what could not be read is in the quarantine now."""
    known = f" ({tally.recognised / tally.unchanged:.1%} of them known by their bytes)" if tally.unchanged else ""
    typer.echo(
        f"{count(tally.read, 'record')} read: {tally.new:,} new, {tally.changed:,} changed, "
        f"{tally.unchanged:,} unchanged{known}, {tally.quarantined:,} quarantined"
    )
    if tally.changes:
        typer.echo("changes: " + ", ".join(f"{number:,} {name}" for name, number in sorted(tally.changes.items())))
    typer.echo(f"{count(tally.crm_updated, 'CRM property', 'CRM properties')} brought in step {ending}")
    if tally.older:
        notice(f"{count(tally.older, 'record')} of an earlier revision than the stored one changed nothing")
    if tally.quarantined and kept:
        notice("see `mls-crm-sync quarantine list` for the records that could not be read")
    if tally.unknown_members:
        first = list(tally.unknown_members)[:8]
        more = ", ..." if len(tally.unknown_members) > len(first) else ""
        notice(
            f"kept without being understood: {count(len(tally.unknown_members), 'member')} ({', '.join(first)}{more})"
        )
    for note, times in sorted(tally.notes.items()):
        notice(f"{note} ({count(times, 'time')})")
