"""From sequences in force, and the versions before that contacts may be in, to what leads contacts through them."""

from collections.abc import Callable, Mapping
from typing import Any

from actions.machine import InForce, Machine
from actions.sequence_checks import lifted_bodies
from actions.sequences import Sequence
from segments import DefinitionErrors, Definitions

Load = Callable[[list[dict[str, Any]]], Definitions]


def compile_sequences(
    in_force: list[InForce], kept: Mapping[tuple[str, int], Sequence], load: Load, *, prompt_ms: int | None = None
) -> tuple[Definitions, Machine]:
    """All definitions with what the sequences lift, as `load` makes them of that, and the machine (with `prompt_ms`).

    Of `kept`, what asks for a segment that is no more is left out: who is in it ends. Raises `DefinitionErrors`.
    """
    able = dict(kept)
    while True:
        sequences = [item.sequence for item in in_force]
        try:
            return load(lifted_bodies([*sequences, *able.values()])), Machine(in_force, able, prompt_ms=prompt_ms)
        except DefinitionErrors:
            gone = [named for named, sequence in able.items() if not _loads([*sequences, sequence], load)]
            if not gone:
                raise
            able = {named: sequence for named, sequence in able.items() if named not in gone}


def _loads(sequences: list[Sequence], load: Load) -> bool:
    try:
        load(lifted_bodies(sequences))
    except DefinitionErrors:
        return False
    return True
