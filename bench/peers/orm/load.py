"""SQLAlchemy's ORM, as an application would do it: a mapped class, merged listing by listing, 500 a commit.

    python load.py DSN FILE

What speeds it up and is still the ORM: the listings of a batch that are stored already are fetched by one SELECT, so
that `merge` finds them in the session; the others are added, for `merge` would ask for each of them alone. psycopg is
the compiled one, JSON goes through orjson, nothing is expired after a commit.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import psycopg  # type: ignore[import-not-found]
from sqlalchemy import Date, DateTime, Double, Numeric, create_engine, func, select  # type: ignore[import-not-found]
from sqlalchemy.dialects.postgresql import JSONB  # type: ignore[import-not-found]
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column  # type: ignore[import-not-found]
from sqlalchemy.schema import CreateSchema  # type: ignore[import-not-found]

SCHEMA = "peer_orm"
BATCH = 500  # listings a commit


class Base(DeclarativeBase):  # type: ignore[misc]
    pass


class Listing(Base):
    __tablename__ = "listings"
    __table_args__ = {"schema": SCHEMA}  # noqa: RUF012 # SQLAlchemy's word

    listing_key: Mapped[str] = mapped_column(primary_key=True)
    listing_id: Mapped[str | None]
    originating_system_name: Mapped[str | None]
    universal_property_id: Mapped[str | None]
    parcel_number: Mapped[str | None]
    standard_status: Mapped[str | None]
    mls_status: Mapped[str | None]
    property_type: Mapped[str | None]
    property_sub_type: Mapped[str | None]
    list_price: Mapped[Decimal | None] = mapped_column(Numeric(14, 2))
    original_list_price: Mapped[Decimal | None] = mapped_column(Numeric(14, 2))
    street_number: Mapped[str | None]
    street_name: Mapped[str | None]
    street_suffix: Mapped[str | None]
    unparsed_address: Mapped[str | None]
    city: Mapped[str | None]
    state_or_province: Mapped[str | None]
    postal_code: Mapped[str | None]
    county_or_parish: Mapped[str | None]
    country: Mapped[str | None]
    latitude: Mapped[float | None] = mapped_column(Double)
    longitude: Mapped[float | None] = mapped_column(Double)
    living_area: Mapped[float | None] = mapped_column(Double)
    lot_size_square_feet: Mapped[float | None] = mapped_column(Double)
    year_built: Mapped[int | None]
    bedrooms_total: Mapped[int | None]
    bathrooms_full: Mapped[int | None]
    bathrooms_half: Mapped[int | None]
    days_on_market: Mapped[int | None]
    photos_count: Mapped[int | None]
    listing_contract_date: Mapped[date | None]
    list_agent_key: Mapped[str | None]
    list_agent_full_name: Mapped[str | None]
    list_office_key: Mapped[str | None]
    list_office_name: Mapped[str | None]
    public_remarks: Mapped[str | None]
    modification_timestamp: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    status_change_timestamp: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    rest: Mapped[dict[str, Any]] = mapped_column(JSONB)  # every member without a column


CONVERT = {Date: date.fromisoformat, DateTime: datetime.fromisoformat}
MEMBERS = {
    column.name.title().replace("_", ""): (column.name, CONVERT.get(type(column.type)))
    for column in Listing.__table__.columns
    if column.name != "rest"
}
"""RESO's name of each column's member, the column, and what makes its value of JSON's."""


def main() -> None:
    dsn, file = sys.argv[1:]
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(dsn),
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
    )
    gc.freeze()
    gc.set_threshold(200_000, 10, 10)  # as the product calms its own
    began = time.perf_counter()
    with engine.begin() as conn:
        conn.execute(CreateSchema(SCHEMA, if_not_exists=True))
        Base.metadata.create_all(conn)
    with Session(engine, expire_on_commit=False, autoflush=False) as session:
        for batch in batches(file):
            upsert(session, batch)
            session.commit()
            session.expunge_all()
        seconds = time.perf_counter() - began
        rows = session.scalar(select(func.count()).select_from(Listing))
    print(json.dumps({"seconds": seconds, "rows": rows, "max_rss_mb": peak_mb()}))


def batches(file: str) -> Iterator[list[Listing]]:
    with Path(file).open("rb") as lines:
        while batch := [as_listing(orjson.loads(line)) for line in islice(lines, BATCH)]:
            yield batch


def as_listing(record: dict[str, Any]) -> Listing:
    values = {}
    for member, (column, convert) in MEMBERS.items():
        value = record.pop(member, None)
        values[column] = convert(value) if convert and value is not None else value
    return Listing(**values, rest=record)


def upsert(session: Session, batch: list[Listing]) -> None:
    keys = [listing.listing_key for listing in batch]
    stored = session.scalars(select(Listing).where(Listing.listing_key.in_(keys))).all()
    known = {listing.listing_key for listing in stored}
    for listing in batch:
        if listing.listing_key in known:
            session.merge(listing)
        else:
            session.add(listing)


def peak_mb() -> float:
    """Return the most memory this program had; `getrusage` would count the process that started it, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1)


if __name__ == "__main__":
    main()
