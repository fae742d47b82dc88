"""Make a dictionary for payloads: what listings have in common, so that each is kept in half the space.

    python bench/make_dictionary.py VERSION

It is made of generated listings alone and shipped with the package. One that is trained on a brokerage's own listings
would be better still (a quarter of the space on real deliveries instead of 60 %), but pieces of them would stay in it
after a purge. A version is never changed: payloads name the one they need.
"""

from __future__ import annotations

import random
import sys

import orjson
import zstandard

import workload
from mls_crm_sync.core.fields import FIELDS
from mls_crm_sync.core.values import KNOWN, STANDARD_STATUS
from mls_crm_sync.store import payloads

SIZE = 16_384
SAMPLES = 1000


def main() -> None:
    version = int(sys.argv[1])
    path = payloads.FOLDER / f"payload-{version}.zdict"
    if path.exists():
        sys.exit(f"{path.name} is there: payloads may need it as it is; make the next version")
    samples: list[bytes | bytearray | memoryview[int]] = []
    for number in range(SAMPLES):
        samples += [orjson.dumps(workload.listing(number)), names(number)]
    path.write_bytes(zstandard.train_dictionary(SIZE, samples, dict_id=version).as_bytes())


def names(number: int) -> bytes:
    """A record of some of the fields there are: names are what listings of all sources have in common."""
    rng = random.Random(number)
    words = [word for values in (*KNOWN.values(), STANDARD_STATUS) for word in values]
    return orjson.dumps({field.name: rng.choice(words) for field in rng.sample(FIELDS, 40)})


if __name__ == "__main__":
    main()
