"""What a sequence was worth, read from the topics or from a deterministic run (`actions/report.py` sums it up).

The topics are read to their ends as of now, twice over: what is told of contacts is looked at only of those in the
sequence, so memory grows with them and their messages, not with the topics.
"""

import dataclasses
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import msgspec
import orjson

from actions.report import Report, report_of
from actions.report_facts import Facts, ValueOf
from actions.sequences import On
from actions.sequences import Sequence as Steps
from actions.simulated import Told, simulate_all
from schemas.deliveries import Delivery, Outcome
from schemas.events import Event, parse_event
from schemas.instants import parse_instant
from schemas.rejected import Rejection
from schemas.topics import DELIVERIES, EVENTS_OWN, OUTCOMES, SOURCES, TRANSITIONS
from schemas.transitions import Transition, TransitionRecord
from segments import Definitions, Limits
from streams.broker import reader, to_the_end
from streams.errors import InputError
from streams.event_lines import open_lines
from streams.report_versions import read_versions
from streams.settings import Settings

_FIRST = (EVENTS_OWN.name, DELIVERIES.name, OUTCOMES.name)
_THEN = (TRANSITIONS.name, *(topic.name for topic in SOURCES))
SHOWN_EACH = 1024

Advance = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Asked:
    """Of which sequence, and which of its entries; `version` and `since_ms` (epoch ms) None: all."""

    sequence: str
    window_ms: int
    version: int | None = None
    since_ms: int | None = None
    value: ValueOf | None = None


def json_of(report: Report) -> bytes:
    """The report as JSON, on one line."""
    return orjson.dumps(msgspec.to_builtins(report))


async def survey(settings: Settings) -> int:
    """How many offsets `read_report` goes through. Raises `StreamsError`."""
    topics = [settings.topic(name) for name in (*_FIRST, *_THEN)]
    async with reader(settings, topics) as client:
        partitions = list(client.assignment())
        starts, ends = await client.beginning_offsets(partitions), await client.end_offsets(partitions)
        twice = settings.topic(EVENTS_OWN.name)
        return sum((ends[each] - starts[each]) * (2 if each.topic == twice else 1) for each in partitions)


async def read_report(settings: Settings, asked: Asked, files: Sequence[str], now_ms: int, advance: Advance) -> Report:
    """The report as of `now_ms`, with the events of `files` beside those of the topics.

    Raises `UnknownSequence`, and any other `StreamsError` where the topics can't be read.
    """
    versions, segments = await read_versions(settings, asked.sequence)
    facts = Facts(asked.sequence, versions, asked.window_ms, asked.value, segments)
    progress = _Progress(advance)
    async for topic, record in _records(settings, _FIRST, progress):
        _take_first(facts, topic, record.value or b"")
    async for topic, record in _records(settings, _THEN, progress):
        if record.key is not None and facts.asks(record.key.decode("utf-8", "replace")):
            _take_then(facts, topic, record)
    for path in files:
        _take_file(facts, path)
    return report_of(facts, now_ms, version=asked.version, since_ms=asked.since_ms)


def simulated_report(
    asked: Asked,
    definitions: Definitions,
    sequences: Iterable[Steps],
    events: str,
    until_ms: int | None,
    limits: Limits,
) -> Report:
    """The same of a run over the file `events`, as of its end: nothing is sent there, a delivery counts as sent.

    Raises `InputError`.
    """
    sequences = tuple(sequences)
    sequence = next((sequence for sequence in sequences if sequence.id == asked.sequence), None)
    if sequence is None:
        ids = " ".join(each.id for each in sequences) or "there are none"
        raise InputError(f"expected the id of a sequence in the files ({ids}), got {asked.sequence!r}")
    facts = Facts(asked.sequence, {1: sequence}, asked.window_ms, asked.value)
    end_ms = until_ms
    with open_lines(events) as lines:
        for said in simulate_all(definitions, sequences, (line for _, line in lines), until_ms, limits):
            if isinstance(said, Told | Transition):
                _take_said(facts, said)
                end_ms = said.at_ms if end_ms is None else max(end_ms, said.at_ms)
    last_ms = _take_file(facts, events)
    end_ms = max((ms for ms in (end_ms, last_ms) if ms is not None), default=0)
    return report_of(facts, end_ms, version=asked.version, since_ms=asked.since_ms)


class _Progress:
    """How far the offsets of all partitions have been gone through, those of records that are not there among them."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._last: dict[tuple[str, int], int] = {}
        self._records = self._offsets = 0

    def begin(self) -> None:
        self._last.clear()

    def take(self, record: Any) -> None:
        place = record.topic, record.partition
        self._offsets += record.offset - self._last.get(place, record.offset - 1)
        self._last[place] = record.offset
        self._records += 1
        if self._records % SHOWN_EACH == 0:
            self._advance(self._records, self._offsets)


async def _records(settings: Settings, names: Sequence[str], progress: _Progress) -> AsyncIterator[tuple[str, Any]]:
    """Short name of the topic and record, of all that is committed now."""
    progress.begin()
    async with reader(settings, [settings.topic(name) for name in names]) as client:
        async for record in to_the_end(client, await client.end_offsets(list(client.assignment()))):
            progress.take(record)
            yield record.topic.removeprefix(settings.prefix), record


def _take_first(facts: Facts, topic: str, value: bytes) -> None:
    try:
        if topic == DELIVERIES.name:
            facts.delivery(msgspec.json.decode(value, type=Delivery))
        elif topic == OUTCOMES.name:
            outcome = msgspec.json.decode(value, type=Outcome)
            facts.outcome(outcome, _instant(outcome.at))
        else:
            event = parse_event(value)
            if event.occurred_at_ms is not None:
                facts.own(event, event.occurred_at_ms)
    except (msgspec.DecodeError, RecursionError, Rejection):
        pass  # worker and dispatcher put it into `rejected`, where it is counted and shown


def _take_then(facts: Facts, topic: str, record: Any) -> None:
    try:
        if topic == TRANSITIONS.name:
            told = msgspec.json.decode(record.value or b"", type=TransitionRecord)
            facts.transition(told.contact, On(told.segment, told.transition), told.key, _instant(told.at))
        else:
            event = parse_event(record.value or b"")
            facts.told(event, _happened_ms(event, record.timestamp))
    except (msgspec.DecodeError, RecursionError, Rejection):
        pass


def _take_said(facts: Facts, said: Told | Transition) -> None:
    if isinstance(said, Transition):
        facts.transition(said.contact, On(said.segment, said.transition), said.key, said.at_ms)
    elif said.kind == "delivery":
        facts.delivery(said.body, said.at_ms)
    elif said.kind == "outcome":
        facts.outcome(said.body, said.at_ms)
    else:
        facts.own(parse_event(msgspec.json.encode(said.body)), said.at_ms)


def _take_file(facts: Facts, path: str) -> int | None:
    """Takes in the events of a file; the latest instant that one of them has. Those that have none are passed over."""
    last_ms = None
    with open_lines(path) as lines:
        for _, line in lines:
            try:
                event = parse_event(line, ticks=True)
            except Rejection:
                continue
            at_ms = _happened_ms(event, None)
            if at_ms is not None:
                facts.told(event, at_ms)
                last_ms = at_ms if last_ms is None else max(last_ms, at_ms)
    return last_ms


def _happened_ms(event: Event, otherwise_ms: Any) -> Any:
    """When an event happened; where it says nothing, when it arrived."""
    if event.occurred_at_ms is not None:
        return event.occurred_at_ms
    return otherwise_ms if event.received_at_ms is None else event.received_at_ms


def _instant(text: str) -> int:
    at_ms = parse_instant(text, offset_required=True)
    if at_ms is None:
        raise msgspec.ValidationError(f"expected an instant, got {text!r}")
    return at_ms
