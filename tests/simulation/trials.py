"""Runs of scripts: whether one fails, with what, and the least that it takes."""

from __future__ import annotations

import hashlib

from script import Script, draw, shrunk
from world import World


def outcome_of(script: Script) -> tuple[str | None, World]:
    """What is wrong after a run of the script, None if nothing is, and the world that it left."""
    world = World(script)
    try:
        world.run()
    except AssertionError as error:
        return str(error), world
    except Exception as error:  # what committed records can't be checked for, such as one that nobody can decode
        return repr(error), world
    return None, world


def failure_of(script: Script) -> str | None:
    """What is wrong after a run of the script; None if nothing is."""
    return outcome_of(script)[0]


def run_seed(seed: int) -> World:
    """Runs a seed; raises AssertionError with the seed and the shortest script that still fails, and its trace."""
    script = draw(seed)
    wrong, world = outcome_of(script)
    if wrong is not None:
        raise AssertionError(explained(script, wrong))
    return world


def explained(script: Script, wrong: str) -> str:
    """What to read: what is wrong, how to see it again, and the least that it takes."""
    least = shrunk(script, lambda shorter: failure_of(shorter) is not None)
    still, world = outcome_of(least)
    listed = "\n".join(f"  {action}" for action in least.actions)
    trace = "\n".join(f"  {line}" for line in world.trace[-60:])
    return (
        f"seed {script.seed} ({script.kind}): {wrong}\n"
        f"again: pytest tests/simulation --seed {script.seed}\n"
        f"the least of its {len(script.actions)} actions that still fails, with {still}:\n{listed}\n"
        f"what happened then:\n{trace}"
    )


def digest(world: World) -> str:
    """A hash of all that happened and all that was written."""
    seen = hashlib.sha256("\n".join(world.trace).encode())
    for place in sorted(world.broker.written):
        for written in world.broker.written[place]:
            seen.update(repr((place, written.record, written.time_ms, written.state)).encode())
    return seen.hexdigest()
