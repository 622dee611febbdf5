"""What a torture run does to workers and broker, all of it drawn beforehand from one seed."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

# what is done, and for how many seconds: until it is undone, or until what was ended is started again
SECONDS = {
    "kill": (0.0, 0.5, 3.0, 9.0),
    "terminate": (0.0, 0.5, 3.0),
    "freeze": (1.0, 4.0, 8.0, 11.0),
    "rolling restart": (0.0,),
    "join or leave": (0.0,),
    "kill all": (0.0, 2.0),
    "broker stops": (0.0, 2.0),
    "broker dies": (0.0, 2.0),
    "broker away": (5.0, 10.0, 20.0),
    "poison": (0.0,),
    "spoil state": (0.0,),
    "step clock": (2.0, 10.0),
    "open transaction": (1.0, 2.5, 4.0),
}
OFTEN = ("kill", "terminate", "freeze", "join or leave")
SEVERAL_SHARE = 0.15
MINUTE_S = 60.0
# a run of so many has a broker that is away for a minute, once
LONG = 50


@dataclasses.dataclass(frozen=True)
class Disturbance:
    """`what` is done `pause_s` after the one before, for `seconds`; `who` chooses the worker, `yes` between two ways."""

    what: str
    who: int = 0
    pause_s: float = 0.0
    seconds: float = 0.0
    yes: bool = True


def draw(seed: int, count: int, *, pause_s: float = 4.0, away_s: float = 20.0) -> Sequence[Disturbance]:
    """The disturbances of a seed, every kind once before any comes again.

    `pause_s` is the mean of the pauses, none where several come at once; `away_s` the longest that the broker is away, but
    for one minute in a long run.
    """
    rng = random.Random(f"torture {seed}")
    drawn: list[Disturbance] = []
    deck: list[str] = []
    for _ in range(count):
        if not deck:
            deck = [*SECONDS, *(OFTEN if drawn else ())]
            rng.shuffle(deck)
        what = deck.pop()
        pause = 0.0 if drawn and rng.random() < SEVERAL_SHARE else rng.uniform(0.25, 1.75) * pause_s
        seconds = rng.choice(SECONDS[what])
        if what == "broker away":
            seconds = min(seconds, away_s)
        drawn.append(Disturbance(what, rng.randrange(1000), round(pause, 2), seconds, rng.random() < 0.5))
    away = [number for number, each in enumerate(drawn) if each.what == "broker away"]
    if count >= LONG:
        longest = away[len(away) // 2]
        drawn[longest] = dataclasses.replace(drawn[longest], seconds=MINUTE_S)
    return drawn
