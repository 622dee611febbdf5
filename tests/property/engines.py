"""Both engines on a case, and what they emit in a form in which it can be compared."""

from collections import defaultdict
from typing import Any

import segments
from tests import oracle
from tests.histories import Case, Definitions

Pair = tuple[str, str, str | None]
"""Contact, segment and key."""


def by_core(
    defined: Definitions, lines: list[bytes], until_ms: int | None = None, grace_ms: int = 2000
) -> tuple[list[dict[str, Any]], list[int]]:
    """The core's transitions, as `tidegate simulate` shows them, and the numbers of the lines it rejects."""
    out = list(segments.simulate(segments.load_data(defined), lines, until_ms=until_ms, grace_ms=grace_ms))
    transitions = [one.simulated() for one in out if not isinstance(one, segments.RejectedLine)]
    return transitions, [one.line for one in out if isinstance(one, segments.RejectedLine)]


def by_oracle(
    defined: Definitions, lines: list[bytes], until_ms: int | None = None, grace_ms: int = 2000
) -> tuple[list[dict[str, Any]], list[int]]:
    transitions, rejected = oracle.simulate(defined, lines, until_ms, grace_ms)
    return transitions, [int(reason.split(":")[0]) for reason in rejected]


def by_pair(transitions: list[dict[str, Any]]) -> dict[Pair, list[tuple[Any, ...]]]:
    """(seq, transition, at, cause) in order of emission, for each contact, segment and key."""
    pairs: dict[Pair, list[tuple[Any, ...]]] = defaultdict(list)
    for one in transitions:
        pair = one["contact"], one["segment"], one.get("key")
        pairs[pair].append((one["seq"], one["transition"], one["at"], one["cause"]))
    return dict(pairs)


def members(transitions: list[dict[str, Any]]) -> set[Pair]:
    """Who is where at the end."""
    return {pair for pair, moves in by_pair(transitions).items() if moves[-1][1] == "entered"}


def untils_ms(case: Case) -> list[int | None]:
    """How far a run may go on after the last line."""
    start_ms, unit_ms = case.world.start_ms, case.world.unit_ms
    return [None, start_ms + 45 * unit_ms, start_ms + 400 * unit_ms]
