"""The program of the library's process: does what each line on standard input says, and says what came of it.

    {"search": {"location": "San Diego, CA", "listing_type": "sold", "past_days": 90}}  {"rows": 889, "keys": "9f86.."}
    {"home": "1234567890"}                                                              {"rows": 1, "keys": "3b1c.."}
    {"area": "San Diego, CA"}                                                           {"rows": 0, "keys": "e3b0.."}

The library is the real one; its endpoint, given as the only argument, is the one thing that is changed about it. Its
own `search` holds all homes of a search until it has the last, ten thousand with photos some 500 MB; here its steps are
taken one by one, in its order and with its arguments (tests/sources/test_homeharvest.py holds their requests against
those of `scrape_property`), and a page is forgotten when it was counted.

It ends when standard input does. `rows` and `keys` are what the library made of what it was answered.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO

MEMORY = 512 * 1024 * 1024
"""Of its data. It takes about 100 MB, most of it for libraries that it loads; they reserve more than they use."""
MOST = 10_000
"""The site shows no more of a search, and the library asks for no more."""


def main() -> None:
    said, sys.stdout = sys.stdout, sys.stderr  # what the library prints is no answer
    with contextlib.suppress(ValueError, OSError):  # a system that has no such limit, or a lower one
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    from homeharvest.core.scrapers.realtor import RealtorScraper  # noqa: PLC0415 - within its memory, said in a line

    RealtorScraper.SEARCH_GQL_URL = sys.argv[1]
    _say(said, {"ready": True})
    for line in sys.stdin:
        try:
            keys = [_key(home) for homes in _do(json.loads(line)) for home in homes]
            answer = {"rows": len(keys), "keys": digest(keys)}
        except Exception as error:  # noqa: BLE001 - whatever the library raises is told, and judged by who asked
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        _say(said, answer)


def digest(keys: Iterable[object]) -> str:
    """Return what a list of keys can be told by, in their order."""
    return hashlib.sha256("\n".join(map(str, keys)).encode()).hexdigest()


def _key(home: object) -> object:
    return home.get("property_id") if isinstance(home, dict) else None


def _do(task: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Yield what the library makes of each answer."""
    from homeharvest.core.scrapers import ListingType, ReturnType, ScraperInput  # noqa: PLC0415 - an extra
    from homeharvest.core.scrapers.realtor import RealtorScraper  # noqa: PLC0415 - as above

    match task:
        case {"search": search}:
            of = search.get("listing_type")
            yield from _search(
                RealtorScraper(
                    ScraperInput(
                        location=search["location"],
                        listing_type=ListingType(of.upper()) if of else None,
                        last_x_days=search.get("past_days"),
                        limit=MOST,
                        return_type=ReturnType.raw,
                    )
                )
            )
        case {"home": key}:
            yield RealtorScraper(ScraperInput(location=key, listing_type=None, return_type=ReturnType.raw)).handle_home(
                key
            )
        case {"area": location}:
            RealtorScraper(ScraperInput(location=location, listing_type=None)).handle_location()
        case _:
            raise ValueError(f"unknown task: {task}")


def _search(one: Any) -> Iterator[list[Any]]:  # noqa: ANN401 # the library has no types
    """Do what its `search` does, a page at a time."""
    area = one.handle_location()
    if not area:
        return
    if area["area_type"] == "address":
        yield one.handle_home(area["mpr_id"])
        return
    variables = {"offset": 0, "search_location": {"location": area.get("text")}}
    first = one.general_search(variables, search_type="area")
    yield first["properties"]
    for offset in range(one.DEFAULT_PAGE_SIZE, min(first["total"], MOST), one.DEFAULT_PAGE_SIZE):
        yield one.general_search(variables | {"offset": offset}, search_type="area")["properties"]


def _say(said: TextIO, answer: Mapping[str, Any]) -> None:
    said.write(json.dumps(answer) + "\n")
    said.flush()


if __name__ == "__main__":
    main()
