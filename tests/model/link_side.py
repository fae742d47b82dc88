"""Links and syncs by hand, in the reference model: what they fill, what they freeze, and the dates they leave."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from model.pieces import Table
from model.world import Crm, Link, Refusal, World


class LinkSide(World):
    """The verbs that join listings and CRM properties."""

    # -- links

    def link(self, table: Table, crm_id: str, listing: str, *, move: bool) -> tuple[bool, tuple[str, ...]]:
        """Return whether the link is new, and the fields that it filled."""
        refusal, linked, synced = self._link([(crm_id, listing)], table, move=move)
        if refusal:
            raise Refusal(refusal[crm_id])
        return bool(linked), dict(synced).get(crm_id, ())

    def link_file(
        self, table: Table, source: str | None, rows: Sequence[tuple[int, str, str | None, str | None]]
    ) -> tuple[int, int, int, list[tuple[int, str, str]]]:
        """`rows` are (line, CRM id, listing or None, key or None). Return linked, unchanged, filled, errors."""
        linked, filled, errors = 0, 0, list[tuple[int, str, str]]()
        for part in _parts(rows):
            wanted, refused = list[tuple[str, str]](), dict[str, str]()
            for _, crm_id, listing, key in part:
                found = [listing] if listing is not None else self._by_key(source, str(key))
                if len(found) == 1:
                    wanted.append((crm_id, found[0]))
                else:
                    refused[crm_id] = "ambiguous_listing_key" if found else "listing_not_found"
            refusal, done, synced = self._link(wanted, table, move=False)
            linked += len(done)
            filled += len(synced)
            reasons = refused | refusal
            errors += [(line, crm_id, reasons[crm_id]) for line, crm_id, _, _ in part if crm_id in reasons]
        return linked, len(rows) - linked - len(errors), filled, errors

    def _by_key(self, source: str | None, key: str) -> list[str]:
        return [i for i, row in self.listings.items() if row.key == key and source in {None, row.source}]

    def _link(
        self, wanted: Sequence[tuple[str, str]], table: Table, *, move: bool
    ) -> tuple[dict[str, str], list[str], list[tuple[str, tuple[str, ...]]]]:
        self.tick += 1
        refused = {c: code for c, listing in wanted if (code := self._hindrance(c, listing, move=move))}
        done = sorted((c, listing) for c, listing in wanted if c not in refused and self.crm[c].listing != listing)
        for crm_id, listing in done:
            self._close(crm_id)
            row = self.crm[crm_id]
            if row.listing is not None:
                self.tell("property.unlinked", crm_id, row.listing)
            row.listing, row.updated, row.version = listing, self.tick, row.version + 1
            self.links.append(Link(crm_id, listing, self.tick))
            self.tell("property.linked", crm_id, listing)
        synced = self.bring_in_step([crm_id for crm_id, _ in done], table)
        self._tell_synced(synced)
        return refused, [crm_id for crm_id, _ in done], synced

    def _hindrance(self, crm_id: str, listing: str, *, move: bool) -> str | None:
        if crm_id not in self.crm:
            return "crm_property_not_found"
        if listing not in self.listings:
            return "listing_not_found"
        return "already_linked" if self.crm[crm_id].listing not in {None, listing} and not move else None

    def unlink(self, crm_id: str, *, restore_own: bool) -> str:
        row = self._linked(crm_id)
        self.tick += 1
        listing = str(row.listing)
        self._close(crm_id)
        self.tell("property.unlinked", crm_id, listing)
        row.listing, row.hash, row.updated, row.version = None, None, self.tick, row.version + 1
        if restore_own:
            row.fields = {}
        return listing

    def _close(self, crm_id: str) -> None:
        for link in self.links:
            if link.crm_id == crm_id and link.until is None:
                link.until = self.tick

    def _linked(self, crm_id: str) -> Crm:
        if crm_id not in self.crm:
            raise Refusal("crm_property_not_found")
        if self.crm[crm_id].listing is None:
            raise Refusal("not_linked")
        return self.crm[crm_id]

    def _tell_synced(self, synced: Iterable[tuple[str, tuple[str, ...]]]) -> None:
        for crm_id, names in synced:
            self.tell("property.synced", crm_id, str(self.crm[crm_id].listing), names)

    # -- syncing by hand

    def sync_one(self, table: Table, crm_id: str) -> tuple[str, ...] | None:
        self._linked(crm_id)
        return dict(self._sync([crm_id], table)).get(crm_id)

    def sync_listing(self, table: Table, listing: str) -> tuple[int, list[tuple[str, tuple[str, ...]]]]:
        if listing not in self.listings:
            raise Refusal("listing_not_found")
        linked = self.crm_of([listing])
        return len(linked), self._sync(linked, table)

    def sync_all(self, table: Table) -> tuple[int, list[tuple[str, tuple[str, ...]]]]:
        linked = [crm_id for crm_id, row in self.crm.items() if row.listing is not None]
        return len(linked), self._sync(linked, table)

    def _sync(self, crm_ids: Iterable[str], table: Table) -> list[tuple[str, tuple[str, ...]]]:
        self.tick += 1
        synced = self.bring_in_step(crm_ids, table)
        self._tell_synced(synced)
        return synced

    def drift(self, crm_id: str, name: str) -> None:
        """Somebody writes over a field, past the product."""
        self.crm[crm_id].fields[name] = "drifted"


def _parts(
    rows: Iterable[tuple[int, str, str | None, str | None]],
) -> Iterator[list[tuple[int, str, str | None, str | None]]]:
    """A transaction links each CRM property once."""
    part: list[tuple[int, str, str | None, str | None]] = []
    for row in rows:
        if any(row[1] == other[1] for other in part):
            yield part
            part = []
        part.append(row)
    yield part
