"""`pytest tests/simulation` runs so many seeds, `--seeds 50000` as many as you like, `--seed 7 -s` the one, with its trace."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
# some 20 ms each; fewer where the core's tests run a second time, in pure Python
SEEDS = 300 if os.environ.get("TIDEGATE_PURE") else 2_000
SEEDS_A_TEST = 100


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--seed` and `--seeds`."""
    parser.addoption("--seed", type=int, default=None, help="the one seed to run")
    parser.addoption("--seeds", type=int, default=SEEDS, help=f"how many seeds to run, {SEEDS} where nothing is said")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `seeds` runs with each stretch of them."""
    if "seeds" in metafunc.fixturenames:
        one = metafunc.config.getoption("--seed", default=None)
        count = metafunc.config.getoption("--seeds", default=SEEDS)
        stretches = [range(at, min(at + SEEDS_A_TEST, count)) for at in range(0, count, SEEDS_A_TEST)]
        given = stretches if one is None else [range(one, one + 1)]
        metafunc.parametrize("seeds", given, ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--seed`, nothing but its run."""
    if config.getoption("--seed", default=None) is not None:
        items[:] = [item for item in items if "seeds" in getattr(item, "fixturenames", ())]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What workers say while everything goes wrong on purpose is for nobody."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
