"""`pytest tests/simulation --seed=N` runs one seed; without it, a fixed few."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
SEEDS = 40


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--seed`."""
    parser.addoption("--seed", type=int, default=None, help="the one seed to run")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `seed` runs with each of them."""
    if "seed" in metafunc.fixturenames:
        one = metafunc.config.getoption("--seed", default=None)
        metafunc.parametrize("seed", range(SEEDS) if one is None else [one])
