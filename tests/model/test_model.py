"""Whatever is done to it, in whatever order: the database is what the reference model says.

A Hypothesis state machine (`machine.py`) does each operation in the model and in the product, on real PostgreSQL, and
compares everything after each. Sizes and replay, by environment:

    MODEL_OPERATIONS  how many operations at least (default 5,000)
    MODEL_SEED        the seed that a failure prints; without it a new one each time
    MODEL_SHRINK      1: look for a shorter example of the failure (slow)

    MODEL_SEED=123 MODEL_SHRINK=1 .venv/bin/python -m pytest tests/model/test_model.py --pg=embedded
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from model.bench import a_bench
from model.machine import EXAMPLE, explore

if TYPE_CHECKING:
    from conftest import Server

OPERATIONS = int(os.environ.get("MODEL_OPERATIONS", "5000"))
SHARDS = 8  # small ones, so that all cores stay busy; every other one on the second server where there are two


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
def test_database_is_what_the_model_says_after_every_operation(
    shard: int,
    server_number: Callable[[int], Server],
) -> None:
    seed = int(os.environ.get("MODEL_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
    wanted = -(-OPERATIONS // SHARDS)
    with server_number(shard).database() as dsn, a_bench(dsn) as bench:
        try:
            explore(bench, operations=wanted, seed=seed + shard, shrink=os.environ.get("MODEL_SHRINK") == "1")
        except BaseException as error:
            error.add_note(f"again: MODEL_SEED={seed} MODEL_OPERATIONS={OPERATIONS}, shard {shard}")
            raise
        print(f"shard {shard}: {bench.operations:,} operations, seed {seed}")  # noqa: T201 - by hand, with -s

    assert bench.operations >= wanted


def test_example_is_long_enough_for_histories_to_cross() -> None:
    assert EXAMPLE >= 50
