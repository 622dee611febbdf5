"""The one call from definitions to a program."""

from collections.abc import Mapping

from segments.conditions import Definitions
from segments.evaluate import Program
from segments.following import Follower
from segments.limits import Limits


def compile_program(
    definitions: Definitions,
    *,
    limits: Limits | None = None,
    versions: Mapping[str, int] | None = None,
    revision: int = 0,
    previous: Program | None = None,
    follower: Follower | None = None,
) -> Program:
    """The program of checked definitions; `versions` by segment id (1 where none is given).

    `previous`: that of the definitions in force before, so that states of it are taken over by what differs. `follower`:
    what is told of transitions within each step.
    """
    return Program(definitions, limits or Limits(), versions or {}, revision, previous, follower)
