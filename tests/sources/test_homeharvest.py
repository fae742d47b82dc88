"""The website as a source, by the real library in its process, against a stand-in on loopback."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import ipaddress
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from faults.test_homeharvest_faults import no_library_runs
from faults.test_source_faults import at_once
from mls_crm_sync.core.errors import InvalidInput, SourceBroken, SourceRefused, SourceUnavailable
from mls_crm_sync.sources.base import Answer, Found, NotThere, OpenGate, Page, PassOutcome, Unknown, Wanted
from mls_crm_sync.sources.homeharvest import source as homeharvest
from mls_crm_sync.sources.homeharvest.answers import SUGGESTIONS
from mls_crm_sync.sources.homeharvest.process import library
from mls_crm_sync.sources.homeharvest.source import HomeHarvestSettings, HomeHarvestSource
from mls_crm_sync.sources.http import Limits
from mls_crm_sync.sources.registry import KINDS
from mls_crm_sync.sync.sources import _validated
from sources.fault_server import send
from sources.realtor_site import SAN_DIEGO, RealtorSite, a_home, forbidden, sold

QUICK = Limits(deadline=20, attempts=2)


@pytest.fixture
async def site() -> AsyncIterator[RealtorSite]:
    async with RealtorSite().serving() as site:
        yield site


def a_source(site: RealtorSite, *, limits: Limits = QUICK, patience: float = 60, **settings: Any) -> HomeHarvestSource:
    said = HomeHarvestSettings(**{"acknowledged": True, "endpoint": site.endpoint, **settings})
    return HomeHarvestSource("homeharvest", said, None, OpenGate(), limits=limits, patience=patience, sleep=at_once)


def has(site: RealtorSite, *homes: dict[str, Any]) -> None:
    site.homes = {home["property_id"]: home for home in homes}


async def read(source: HomeHarvestSource, location: str = SAN_DIEGO) -> tuple[list[dict[str, Any]], PassOutcome]:
    """Read a location to its end; return what it showed and how that ended."""
    try:
        reading = source.read(location)
        async with aclosing(reading.pages()) as pages:
            shown = [orjson.loads(raw.data) async for page in pages for raw in page.records]
    finally:
        await source.close()
    assert reading.outcome is not None
    return shown, reading.outcome


async def looked_up(source: HomeHarvestSource, *wanted: Wanted) -> list[Answer]:
    try:
        answers = await source.look_up(wanted)
    finally:
        await source.close()
    return [answers[one.source_key] for one in wanted]


def addressed(home: dict[str, Any]) -> str:
    address = home["location"]["address"]
    return f"{address['line']}, {address['city']}, {address['state_code']} {address['postal_code']}"


def test_endpoint_is_the_librarys_own() -> None:
    told = "from homeharvest.core.scrapers.realtor import RealtorScraper as r; print(r.SEARCH_GQL_URL)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == homeharvest.SITE


WHAT_IT_DOES = """
import sys
from homeharvest import scrape_property
from homeharvest.core.scrapers.realtor import RealtorScraper
RealtorScraper.SEARCH_GQL_URL = sys.argv[1]
for listing_type, past_days in (("for_sale", None), ("pending", None), ("sold", 90)):
    scrape_property("San Diego, CA", listing_type=listing_type, past_days=past_days, parallel=False, return_type="raw")
scrape_property(sys.argv[2], return_type="raw")
"""


async def test_requests_are_those_that_the_library_makes_by_itself(site: RealtorSite) -> None:
    """Its steps are taken one by one here, so that no more than a page is held: they must be its steps."""
    has(site, *[a_home(f"{n:04}") for n in range(450)], home := a_home("9999"))
    await read(a_source(site))
    await read(a_source(site), addressed(home))
    ours = [one.body for one in site.asked if one.operation != SUGGESTIONS]
    places = {one.body for one in site.asked if one.operation == SUGGESTIONS}
    site.asked.clear()
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WHAT_IT_DOES, site.endpoint, addressed(home), env=environment
    )
    assert await process.wait() == 0
    assert [one.body for one in site.asked if one.operation != SUGGESTIONS] == ours
    assert {one.body for one in site.asked if one.operation == SUGGESTIONS} == places
    assert len(ours) == 3 + 1 + 1 + 1


# -- what is read ------------------------------------------------------------------------------------------------------


async def test_pending_and_sold_homes_show_as_their_status(site: RealtorSite) -> None:
    today = f"{site.today:%Y-%m-%d}"
    has(
        site,
        a_home("1"),
        a_home("2", flags={"is_pending": True}),
        a_home("3", flags={"is_contingent": True}),
        sold(a_home("4"), price=731000, on=today, updated="2026-11-20T10:00:00Z"),
        sold(a_home("5"), price=731000, on="2026-01-05", updated="2026-01-06T10:00:00Z"),
        a_home("6", status="off_market"),
    )

    shown, outcome = await read(a_source(site))

    assert {one["ListingKey"]: one["StandardStatus"] for one in shown} == {
        "1": "Active", "2": "Pending", "3": "Active Under Contract", "4": "Closed",
    }  # fmt: skip
    assert len(shown) == 4, "one that two searches show is handed on once; sales are those of the last 90 days"
    assert outcome.kind == "complete"
    for part in ("for_sale in San Diego, CA: 3 announced", "pending in San Diego, CA: 2", "sold in San Diego, CA: 1"):
        assert part in outcome.evidence


async def test_only_the_listing_types_that_were_set_are_asked_for(site: RealtorSite) -> None:
    has(site, a_home("1"))
    _, outcome = await read(a_source(site, listing_types="for_sale, sold", sold_within_days=7))
    assert "pending" not in outcome.evidence
    assert site.operations() == ["Search_suggestions", "GetHomeSearch", "GetHomeSearch"]


async def test_location_that_is_an_address_is_its_home(site: RealtorSite) -> None:
    has(site, a_home("1"), home := a_home("2"), away := a_home("3", status="off_market"))
    shown, outcome = await read(a_source(site), addressed(home))
    assert [one["ListingKey"] for one in shown] == ["2"]
    assert outcome.kind == "complete"
    assert site.operations() == ["Search_suggestions", "GetHomeDetails"]

    shown, outcome = await read(a_source(site), addressed(away))
    assert (shown, outcome.kind) == ([], "complete"), "it is not listed"


async def test_place_that_is_asked_for_is_the_place_that_is_read(site: RealtorSite) -> None:
    has(site, a_home("1"))

    async def elsewhere(_: RealtorSite, writer: asyncio.StreamWriter, __: dict[str, Any]) -> bool:
        geo = {"area_type": "postal_code", "postal_code": "92102", "state_code": "CA"}
        await send(
            writer, orjson.dumps({"data": {"search_suggestions": {"geo_results": [{"text": "92102", "geo": geo}]}}})
        )
        return True

    site.fault, site.faulty = elsewhere, lambda asked: asked.operation == SUGGESTIONS
    with pytest.raises(SourceBroken, match="another_place"):
        await read(a_source(site), "92101")


# -- more than the site shows ------------------------------------------------------------------------------------------


def many(number: int, zips: int, **members: Any) -> list[dict[str, Any]]:
    return [a_home(f"{n:010}", zip_code=f"{92101 + n % zips}", photos=[], **members) for n in range(number)]


@pytest.mark.slow
async def test_city_that_has_more_than_the_site_shows_is_read_zip_by_zip(site: RealtorSite) -> None:
    has(site, *many(12_000, 3), *[a_home(f"9{n:09}", city="La Mesa", zip_code="92102") for n in range(40)])
    shown, outcome = await read(a_source(site, listing_types="for_sale"))
    assert len({one["ListingKey"] for one in shown}) == len(shown) == 12_000, "and none of the city next to it"
    assert outcome == PassOutcome(
        "complete", "for_sale in San Diego, CA: 12,000 announced, as many different ones came ZIP by ZIP"
    )


@pytest.mark.slow
@pytest.mark.parametrize("location", [SAN_DIEGO, "92101"])
async def test_what_cannot_be_proven_by_zips_is_capped(site: RealtorSite, location: str) -> None:
    """One ZIP has more than the site shows of a search."""
    has(site, *many(12_000, 1))
    shown, outcome = await read(a_source(site, listing_types="for_sale"), location)
    assert len(shown) == 10_000
    assert outcome.kind == "capped"
    assert "shows 10,000 of 12,000" in outcome.evidence


@pytest.mark.slow
async def test_homes_that_no_zip_shows_leave_it_capped(site: RealtorSite) -> None:
    has(site, *many(10_000, 2), *[a_home(f"8{n:09}", zip_code="99999", photos=[]) for n in range(50)])
    _, outcome = await read(a_source(site, listing_types="for_sale"))
    assert outcome == PassOutcome(
        "capped", "for_sale in San Diego, CA: the site shows 10,000 of 10,050 homes; ZIP by ZIP 10,000 were seen"
    )


# -- single homes ------------------------------------------------------------------------------------------------------


async def test_home_is_looked_up_by_its_id(site: RealtorSite) -> None:
    has(site, a_home("1"), sold(a_home("2"), price=1, on="2020-01-01", updated="2020-01-02T00:00:00Z"))
    site.homes["3"] = a_home("3", status="off_market")
    there, old_sale, off, unknown = await looked_up(
        a_source(site), Wanted("1"), Wanted("2"), Wanted("3"), Wanted("nobody's")
    )
    assert isinstance(there, Found)
    assert orjson.loads(there.record.data)["ListingKey"] == "1"
    assert isinstance(old_sale, Found), "sold long before the window of a pass"
    assert off == NotThere("it says that the home is off the market")
    assert unknown == NotThere("it has no home of this id")


async def test_home_that_has_no_such_id_is_looked_up_by_its_address(site: RealtorSite) -> None:
    has(site, home := a_home("2"))
    merged, gone = await looked_up(
        a_source(site),
        Wanted("1", addressed(home), "92101"),
        Wanted("3", "77 Nowhere Lane, San Diego, CA", "92101"),
    )
    assert merged == Unknown("another home stands at its address: it may have got another id")
    assert gone == NotThere("it has no home of this id, and knows no such address")


async def test_address_that_is_taken_for_a_city_does_not_read_the_city(site: RealtorSite) -> None:
    has(site, *[a_home(str(n)) for n in range(1, 5)])
    (answer,) = await looked_up(a_source(site), Wanted("9", SAN_DIEGO, None))
    assert answer == NotThere("it has no home of this id, and knows no such address")
    assert "GetHomeSearch" not in site.operations()


async def test_failure_in_the_middle_of_look_ups_leaves_the_rest_unknown(site: RealtorSite) -> None:
    has(site, a_home("1"), a_home("2"))

    site.fault, site.faulty = forbidden, lambda asked: asked.variables.get("property_id") == "2"
    one, two, three = await looked_up(a_source(site), Wanted("1"), Wanted("2"), Wanted("3"))
    assert isinstance(one, Found)
    assert isinstance(two, Unknown)
    assert isinstance(three, Unknown)
    assert len(site.asked) == 2, "who was refused does not ask again"


# -- the library -------------------------------------------------------------------------------------------------------


async def test_stalled_server_ends_at_the_deadline_and_no_process_is_left(site: RealtorSite) -> None:
    async def stalls(_: RealtorSite, __: asyncio.StreamWriter, ___: dict[str, Any]) -> bool:
        await asyncio.sleep(60)
        return False

    site.fault = stalls
    with pytest.raises(SourceUnavailable, match=r"no whole answer within 0.3 s, 2 times"):
        await asyncio.wait_for(read(a_source(site, limits=Limits(deadline=0.3, attempts=2))), 30)
    assert no_library_runs()


async def test_library_that_stalls_by_itself_is_ended(site: RealtorSite) -> None:
    with pytest.raises(SourceUnavailable, match="library_stalled"):
        await read(a_source(site, patience=0.05))  # not even imported by then
    assert no_library_runs()


def _libraries() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "mls_crm_sync.sources.homeharvest.child" in one.cmdline()]


async def _rest(pages: AsyncIterator[Page]) -> list[Page]:
    return [page async for page in pages]


async def test_library_whose_process_is_killed_ends_the_pass(site: RealtorSite) -> None:
    has(site, *[a_home(str(n)) for n in range(1000)])
    source = a_source(site)
    reading = source.read(SAN_DIEGO)
    async with aclosing(reading.pages()) as pages:
        await anext(pages)
        for child in _libraries():
            child.kill()
        with pytest.raises(SourceBroken, match="library_ended"):
            await _rest(pages)
    await source.close()
    assert reading.outcome is not None
    assert reading.outcome.kind == "broken"


async def test_library_that_returns_less_than_it_was_answered_proves_nothing(
    site: RealtorSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it passed over without a word would be missing from every table that people make with it."""
    has(site, *[a_home(str(n)) for n in range(1, 6)])
    monkeypatch.setattr(homeharvest, "digest", lambda keys: f"another {keys}")
    _, outcome = await read(a_source(site))
    assert outcome.kind == "partial"
    assert "of which the library returned 5" in outcome.evidence


async def test_library_gets_neither_secrets_nor_proxies(site: RealtorSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("DATABASE_URL", "postgresql://canary")
    has(site, a_home("1"))
    source = a_source(site)
    async with source.library():
        (child,) = _libraries()
        environment = child.environ()
    await source.close()
    assert not {"HTTP_PROXY", "DATABASE_URL"} & environment.keys()
    shown, _ = await read(a_source(site))
    assert len(shown) == 1


async def test_endpoint_of_the_library_is_open_to_it_alone() -> None:
    asked: list[bytes] = []

    async def asks(body: bytes, _: Any) -> bytes:
        asked.append(body)
        return b"{}"

    async with library(asks):
        (child,) = _libraries()
        origin, _, word = child.cmdline()[-1].rpartition("/")
        assert len(word) >= 32
        host, port = origin.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = b'{"operationName": "Search_suggestions", "variables": {}}'
        writer.write(b"POST /guess HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        assert (await reader.readline()).startswith(b"HTTP/1.1 403")
        writer.close()
        await writer.wait_closed()
    assert asked == []


async def test_library_that_tries_again_after_a_failure_does_not_reach_the_site() -> None:
    """It asks three times for an area, whatever the first answer was."""
    asked: list[bytes] = []

    async def asks(body: bytes, _: Any) -> bytes:
        asked.append(body)
        raise SourceRefused("http_403", "it does not let us in")

    async with library(asks) as one:
        with pytest.raises(SourceRefused):
            await anext(one.do({"area": SAN_DIEGO}))
        await asyncio.sleep(2.5)
    assert len(asked) == 1


def test_library_ends_when_our_process_is_killed(site_apart: RealtorSite, tmp_path: Path) -> None:
    program = f"""
import asyncio
from mls_crm_sync.sources.base import OpenGate
from mls_crm_sync.sources.homeharvest.source import HomeHarvestSettings, HomeHarvestSource
async def main():
    settings = HomeHarvestSettings(acknowledged=True, endpoint={site_apart.endpoint!r})
    source = HomeHarvestSource("homeharvest", settings, None, OpenGate())
    async for _ in source.read("San Diego, CA").pages():
        print("page", flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""
    reader = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=tmp_path)
    assert reader.stdout is not None
    with reader, reader.stdout as said:
        assert said.readline() == b"page\n"
        (child,) = psutil.Process(reader.pid).children()
        os.kill(reader.pid, signal.SIGKILL)
    gone, _ = psutil.wait_procs([child], timeout=30)
    assert gone


@pytest.fixture
def site_apart() -> Any:
    site = RealtorSite.of(a_home(str(n)) for n in range(1000))
    with site.serving_in_a_thread():
        yield site


async def test_without_the_extra_the_error_names_the_command(
    site: RealtorSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "homeharvest", None)  # as Python says that there is none
    source = a_source(site)
    with pytest.raises(SourceBroken, match="not installed") as raised:
        await read(source)
    assert "pip install 'mls-crm-sync[homeharvest]'" in str(raised.value.hint)
    assert "pip install" in (await source.check()).detail
    assert (await looked_up(source, Wanted("1"))) == [Unknown("HomeHarvest is not installed")]


# -- what the operator has to say --------------------------------------------------------------------------------------


async def test_it_is_off_until_somebody_acknowledges_what_it_reads(site: RealtorSite) -> None:
    source = a_source(site, acknowledged=False)
    found = await source.check()
    assert not found.ok
    assert "sources change homeharvest --set acknowledged=true" in found.detail
    with pytest.raises(SourceRefused, match="public website"):
        await read(source)
    assert site.asked == []


def test_its_usual_pace_is_slow_and_it_stops_when_it_is_refused() -> None:
    kind = KINDS["homeharvest"]
    assert kind.stops
    assert kind.request_delay >= 2
    assert kind.limits["minute"] <= 30


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"proxy": "proxy.example:3128"}, "address of a proxy"),
        ({"proxy": "http://me:secret@proxy.example:3128"}, "must not hold a password"),
        ({"listing_types": "for_sale,for_rent"}, "listing_types"),
        ({"listing_types": []}, "listing_types"),
        ({"sold_within_days": 0}, "sold_within_days"),
        ({"endpoint": "ftp://x"}, "http"),
        ({"user_agent": "x"}, "unknown"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        _validated(KINDS["homeharvest"], settings)


# -- the network -------------------------------------------------------------------------------------------------------


async def test_proxy_is_asked_instead_of_the_site(site: RealtorSite) -> None:
    has(site, a_home("1"))
    endpoint = "http://realtor.invalid/frontdoor/graphql"
    settings = HomeHarvestSettings(
        acknowledged=True, endpoint=endpoint, proxy=site.address, listing_types=("for_sale",)
    )
    source = HomeHarvestSource("homeharvest", settings, "me:s3cret", OpenGate(), limits=QUICK, sleep=at_once)
    shown, _ = await read(source)
    assert len(shown) == 1
    assert {one.target for one in site.asked} == {endpoint}
    assert {one.headers["proxy-authorization"] for one in site.asked} == {
        "Basic " + base64.b64encode(b"me:s3cret").decode()
    }


async def test_site_is_read_over_tls_and_a_stranger_is_not_trusted(tmp_path: Path) -> None:
    serving, trusting = _certified(tmp_path)
    site = RealtorSite.of([a_home("1")])
    async with site.serving(tls=serving):
        with pytest.raises(SourceUnavailable):
            await read(a_source(site))
        assert site.asked == []
        settings = HomeHarvestSettings(acknowledged=True, endpoint=site.endpoint)
        source = HomeHarvestSource("homeharvest", settings, None, OpenGate(), limits=QUICK, tls=trusting)
        shown, outcome = await read(source)
    assert (len(shown), outcome.kind) == (1, "complete")


async def test_request_is_the_librarys_own(site: RealtorSite) -> None:
    has(site, a_home("1"))
    await read(a_source(site))
    headers = site.asked[0].headers
    assert headers["rdc-client-name"] == "RDC_WEB_SRP_FS_PAGE"
    assert headers["host"] == site.address.removeprefix("http://")
    assert "authorization" not in headers


def _certified(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what a server on 127.0.0.1 shows, and what trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "site.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pem)
    return serving, ssl.create_default_context(cafile=str(pem))


# -- going on ----------------------------------------------------------------------------------------------------------


async def test_pass_that_goes_on_passes_over_pages_that_are_the_same_still(site: RealtorSite) -> None:
    has(site, *[a_home(f"{n:04}") for n in range(500)])
    first: list[Page] = []
    source = a_source(site)
    async with aclosing(source.read(SAN_DIEGO).pages()) as pages:
        async for page in pages:
            first.append(page)
            if len(first) == 2:
                break
    site.change("0007", list_price=1)
    reading = source.read(SAN_DIEGO, first[-1].checkpoint)
    async with aclosing(reading.pages()) as pages:
        rest = [page async for page in pages]
    await source.close()
    assert [page.number for page in rest] == [1, 3, 4, 5], "the first is another now"
    assert reading.outcome is not None
    assert reading.outcome.kind == "partial"
