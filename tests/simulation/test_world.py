"""Whatever happens to several workers, what is committed is what `simulate` says: nothing lost, repeated or out of order."""

from __future__ import annotations

import collections
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from script import KINDS, STATES, STRIKES, TROUBLES, Disturb, draw, shrunk
from trials import failure_of, run_seed

FOLDER = Path(__file__).resolve().parent
WANTED_AT = ("fence", "read state", "send", "acknowledge", "commit")
_happened: collections.Counter[str] = collections.Counter()


def test_whatever_happens_the_committed_transitions_are_those_of_simulate(seeds: range) -> None:
    for seed in seeds:
        world = run_seed(seed)
        _happened.update(world.happened)
    if len(seeds) == 1:
        print("\n".join(world.trace))


def test_what_the_seeds_were_meant_to_bring_about_did_happen() -> None:
    """A simulation in which nothing goes wrong shows nothing."""
    if sum(_happened[kind] for kind in KINDS) < 1_000:
        pytest.skip("few seeds bring about what they bring about")
    wanted = [*KINDS, *STRIKES, *STATES, "edit", "fenced", "timed out", "goes on before another"]
    points = [f"{phase} {operation}" for phase in ("before", "after") for operation in WANTED_AT]
    wanted += [f"{what} {point}" for what in (*STRIKES, *TROUBLES) for point in points]
    assert not [each for each in wanted if not _happened[each]]


def test_a_seed_decides_everything() -> None:
    """In processes that differ in the order of their sets and in where their objects lie, and whatever ran before it."""
    program = "import trials; print(*sorted((seed, trials.digest(trials.run_seed(seed))) for seed in %s))"
    path = os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")])
    runs = [
        subprocess.run(
            [sys.executable, "-c", program % order],
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
            cwd=FOLDER.parent.parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed, order in (("1", "range(60)"), ("2", "reversed(range(60))"))
    ]
    assert runs[0] == runs[1]
    assert len(set(runs[0].split(") ("))) == 60


def test_what_fails_is_told_with_the_least_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "streams.partition.Partition._arrival_at", lambda self, now_ms: max(self.arrival_ms, now_ms + 1)
    )
    seed = next(seed for seed in range(100) if failure_of(draw(seed)))
    with pytest.raises(AssertionError, match=f"pytest tests/simulation --seed {seed}\\n") as told:
        run_seed(seed)
    listed = str(told.value).split("still fails")[1].split("what happened then")[0]
    assert listed.count("Publish(") <= 3
    assert "Disturb(" not in listed, "no disturbance is needed for this one"


def test_a_script_is_cut_down_to_what_fails() -> None:
    script = next(script for script in map(draw, range(100)) if sum(isinstance(a, Disturb) for a in script.actions) > 5)
    needed = [script.actions[3], script.actions[-1]]
    least = shrunk(script, lambda shorter: all(action in shorter.actions for action in needed))
    assert least == dataclasses.replace(script, actions=needed)
