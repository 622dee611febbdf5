"""One message of a sequence, measured stage by stage: sent, delivered, opened, clicked, replied, converted."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from actions.report_facts import MAIL, Entry, Message
from actions.sequences import Send

# stages of a message, each with those before it
STAGES: Final = ("sent", *MAIL.values(), "converted")


class Stage(msgspec.Struct, frozen=True):
    """How many entries came to a stage of a message, their share of those entered, and the time from the stage before.

    Of `sent`, that is the message before or the beginning; of the others, the latest earlier stage of the message.
    Quantiles are nearest ranks, in ms; None where there is no time to tell.
    """

    stage: str
    count: int
    share: float
    median_ms: int | None
    p90_ms: int | None


class StepReport(msgspec.Struct, frozen=True):
    """One `send`: `reached` by so many; what was left out, by code; `waiting` has neither been sent nor given up."""

    step: int
    name: str
    channel: str
    reached: int
    waiting: int
    failed: int
    skipped: dict[str, int]
    stages: list[Stage]


@dataclass(frozen=True)
class Way:
    """An entry, its messages by step, the paths that it took, and when it converted within the window."""

    entry: Entry
    messages: dict[int, Message]
    splits: dict[str, str]
    converted_ms: int | None


def step_report(number: int, step: Send, ways: list[Way]) -> StepReport:
    """The `send` of this number, over so many entries: at least one."""
    reached = [(way, way.messages[number]) for way in ways if number in way.messages]
    outcomes = [message.outcome for _, message in reached if message.outcome is not None]
    skipped = Counter(str(outcome.code) for outcome in outcomes if outcome.status == "skipped")
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    sent = sum("sent" in message.at_ms and not _is_over(message) for _, message in reached)
    instants = [_instants(way, number, message) for way, message in reached]
    return StepReport(
        step=number,
        name=step.name,
        channel=step.message.channel,
        reached=len(reached),
        waiting=len(reached) - sent - failed - skipped.total(),
        failed=failed,
        skipped=dict(sorted(skipped.items())),
        stages=[_stage(stage, instants, len(ways)) for stage in STAGES],
    )


def _is_over(message: Message) -> bool:
    """Whether it ended without being sent."""
    return message.outcome is not None and message.outcome.status in ("failed", "skipped")


def _instants(way: Way, number: int, message: Message) -> dict[str, tuple[int, int | None]]:
    """When one message came to each stage, and the stage before it."""
    instants = {stage: at_ms for stage, at_ms in message.at_ms.items() if stage != "sent" or not _is_over(message)}
    sent_ms = instants.get("sent")
    if sent_ms is not None and way.converted_ms is not None and sent_ms <= way.converted_ms:
        later = [ms for other, ms in _sent(way) if (ms, other) > (sent_ms, number)]
        if way.converted_ms < min(later, default=way.converted_ms + 1):
            instants["converted"] = way.converted_ms
    found: dict[str, tuple[int, int | None]] = {}
    before: list[int] = []
    for stage in STAGES:
        if stage in instants:
            at_ms = instants[stage]
            first = _before(way, number, at_ms) if stage == "sent" else None
            found[stage] = at_ms, max((ms for ms in before if ms <= at_ms), default=first)
            before.append(at_ms)
    return found


def _before(way: Way, number: int, at_ms: int) -> int:
    """When the message before was sent, or the entry began."""
    return max((ms for other, ms in _sent(way) if (ms, other) < (at_ms, number)), default=way.entry.began_ms)


def _sent(way: Way) -> Iterable[tuple[int, int]]:
    return [(number, each.at_ms["sent"]) for number, each in way.messages.items() if "sent" in each.at_ms]


def _stage(stage: str, messages: list[dict[str, tuple[int, int | None]]], entered: int) -> Stage:
    here = [instants[stage] for instants in messages if stage in instants]
    times_ms = sorted(max(at_ms - before_ms, 0) for at_ms, before_ms in here if before_ms is not None)
    return Stage(stage, len(here), len(here) / entered, _rank(times_ms, 50), _rank(times_ms, 90))


def _rank(ordered: list[int], percent: int) -> int | None:
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None
