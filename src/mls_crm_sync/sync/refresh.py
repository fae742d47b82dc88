"""Asking a listing's source for it now, before its CRM properties are brought in step by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mls_crm_sync.core.absence import Said
from mls_crm_sync.core.errors import SecretSealed, SourceNotFound
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.store import listings
from mls_crm_sync.store.database import Database, now

from .passes import look_up_one
from .sealing import Sealer
from .sources import opened

Answer = Literal["found", "not_there", "unknown"]


@dataclass(frozen=True, slots=True)
class Checked:
    """What the source said of a listing. `at` is when it said so, None where it did not (`unknown`, and why)."""

    answer: Answer
    detail: str
    at: datetime | None


async def refresh(db: Database, sealer: Sealer, normaliser: Normaliser, property_id: str) -> Checked:
    """Look a listing up at its source, and take in what that has; a run of the kind look_up.

    That the source does not have it changes nothing: a listing is called absent by passes. Raises ListingNotFound.
    """
    async with db.connection() as conn:
        source, case = await listings.case_of(conn, property_id)
    try:
        async with opened(db, sealer, source, normaliser) as one:
            if one.source.looks_up == "never":
                return Checked("unknown", "the source cannot be asked for single listings", None)
            told = await look_up_one(db, one.reader, one.source, case)
    except (SourceNotFound, SecretSealed) as error:
        return Checked("unknown", str(error), None)
    async with db.connection() as conn:
        at = await now(conn)
    answers: dict[Said, Answer] = {Said.FOUND: "found", Said.NOT_THERE: "not_there"}
    answer = answers.get(told.said, "unknown")
    return Checked(answer, told.words, None if answer == "unknown" else at)
