"""Whatever happens to several workers, what is committed is what `simulate` says: nothing lost, repeated or out of order."""

from __future__ import annotations

import asyncio
import collections

import pytest
from world import World

STEPS = 400
_happened: collections.Counter[str] = collections.Counter()


@pytest.mark.parametrize("arrival", [True, False], ids=["arrival-clock", "wall-clock"])
def test_whatever_happens_the_committed_transitions_are_those_of_simulate(seed: int, arrival: bool) -> None:
    world = World(seed, arrival=arrival)
    asyncio.run(world.run(STEPS))
    _happened.update(world.happened)


def test_what_the_seeds_were_meant_to_bring_about_did_happen(request: pytest.FixtureRequest) -> None:
    """A simulation in which nothing goes wrong shows nothing."""
    if request.config.getoption("--seed", default=None) is not None or not _happened:
        pytest.skip("one seed brings about what it brings about")
    wanted = ["usurped", "crash", "rebalance", "join", "tick"]
    wanted += [f"fault: {what}" for what in ("begin", "send", "acknowledge", "commit", "answer", "fence", "fetch")]
    assert not [each for each in wanted if not _happened[each]], _happened
