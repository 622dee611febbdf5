"""What an event costs the core alone, in this process, with no broker; `bench_builds.py` runs it once for each build.

A step is what a worker does for an event: the contact's state is decoded, the event applied, the state encoded. Events are
parsed before, which is counted apart. What counts is CPU time, the median of several rounds in which all sizes take their
turn, so that a machine that slows down slows them all.
"""

import dataclasses
import gc
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import segments.evaluate
from schemas.events import Event, parse_event
from schemas.transitions import Transition
from segments import Program, compile_program, header, load_data, simulate
from streams import bench_loads as loads
from streams.bench_loads import Definition, Load
from streams.cli.terminal import say

SIZES = (10, 100, 1_000, 10_000)
ROUNDS = 3
DUE_CONTACTS = 2_000
STATE_CONTACTS = 500
LEAVES = 20
SIMULATED = 1_000_000
PROGRESS = 100_000
LABELS = {"pure": "pure Python", "compiled": "compiled"}

Figures = dict[str, Any]


def build() -> str:
    """Which build of the core this process runs: `compiled` or `pure`."""
    return "pure" if str(segments.evaluate.__file__).endswith(".py") else "compiled"


def measure(events: int, *, full: bool) -> Figures:
    """All figures of the build that this process runs."""
    figures: Figures = {"build": build(), "python": sys.version.split()[0], "loads": {}}
    for load in filter(None, (loads.generated(events), loads.journey(events))):
        figures["loads"][load.name] = _measure_load(load)
    _say("due instants")
    figures["due_us"] = statistics.median(_due_us() for _ in range(ROUNDS))
    figures["compile_us"] = _compile_us()
    figures["state_bytes"] = _state_bytes()
    if full:
        figures["simulate"] = _simulate()
    return figures


def _say(what: str) -> None:
    say(f"{LABELS[build()]}: {what}")


def _measure_load(load: Load) -> Figures:
    """What a step costs under each number of segments, and under those of which all are in use."""
    events = [parse_event(line) for line in load.lines]
    gc.collect()
    gc.freeze()  # the collector is to look at what steps make, not at a hundred thousand events that wait
    programs = {f"{size:,}": program(loads.grown(load.busy, size)) for size in SIZES}
    programs[f"{len(load.whole['segments'])} other"] = compile_program(load_data(load.whole))
    rounds: dict[str, list[Round]] = {size: [] for size in programs}
    for number in range(1, ROUNDS + 1):
        _say(f"{load.name}, {', '.join(programs)} segments, round {number} of {ROUNDS}")
        for size, each in programs.items():
            rounds[size].append(_round(each, events))
    parse_us = statistics.median(_micros(parse_event, load.lines) for _ in range(ROUNDS))
    sizes = {size: dataclasses.asdict(_median(each)) for size, each in rounds.items()}
    transitions = [size["transitions"] for size in sizes.values()]
    assert len(set(transitions[: len(SIZES)])) == 1, (
        f"the segments that no event touches changed something: {transitions}"
    )
    smallest, largest = (sizes[f"{size:,}"]["us"] for size in (SIZES[0], SIZES[-1]))
    gc.unfreeze()
    return {
        "events": len(events),
        "contacts": len({event.contact for event in events}),
        "parse_us": parse_us,
        "sizes": sizes,
        "ratio": largest / smallest,
        "transitions": transitions,
    }


def program(definitions: list[Definition]) -> Program:
    """The program of definitions as files have them."""
    return compile_program(load_data({"segments": definitions}))


@dataclasses.dataclass(frozen=True)
class Round:
    """All events of a load stepped through once: CPU µs an event, what came out, bytes a contact's state took then."""

    us: float
    transitions: int
    state_bytes: float


def _median(rounds: list[Round]) -> Round:
    return sorted(rounds, key=lambda each: each.us)[len(rounds) // 2]


def _round(program: Program, events: list[Event]) -> Round:
    states: dict[str, bytes] = {}
    decode, apply, encode, find = program.decode, program.apply, program.encode, states.get
    transitions = 0
    began_s = time.process_time()
    for event in events:
        contact = event.contact
        record = find(contact)
        state = None if record is None else decode(contact, record)
        arrived_ms = event.received_at_ms
        assert arrived_ms is not None
        step = apply(state, event, arrived_ms, arrived_ms)
        assert step.state is not None
        states[contact] = encode(step.state)
        transitions += len(step.transitions)
    took_s = time.process_time() - began_s
    return Round(took_s / len(events) * 1e6, transitions, sum(map(len, states.values())) / len(states))


def _micros(call: Callable[[bytes], object], lines: list[bytes]) -> float:
    began_s = time.process_time()
    for line in lines:
        call(line)
    return (time.process_time() - began_s) / len(lines) * 1e6


def _due_us() -> float:
    """CPU µs of a due instant that makes a contact leave a segment: its state decoded, time advanced, encoded again."""
    rolling = [
        {"id": f"due-{index}", "when": {"event": f"Event {index}", "within": f"{index + 1}h"}}
        for index in range(LEAVES)
    ]
    stepping = program(rolling)
    records = [(contact, record) for contact, record in resting(stepping, DUE_CONTACTS, 1)]
    played = left = 0
    began_s = time.process_time()
    for contact, record in records:
        due_ms = header(record)[0]
        while due_ms is not None:
            state = stepping.decode(contact, record)
            left += len(stepping.advance(state, due_ms))
            record = stepping.encode(state)
            due_ms = header(record)[0]
            played += 1
    took_s = time.process_time() - began_s
    assert played == left == DUE_CONTACTS * LEAVES, "each instant makes one contact leave one segment"
    return took_s / played * 1e6


def _state_bytes() -> Figures:
    """What a contact's record takes with as many leaves: three instants in each, as many memberships, five traits."""
    counting = program(one_a_name({"count": {"gte": 3}}))
    sizes = [len(record) for _, record in resting(counting, STATE_CONTACTS, 3)]
    return {"median": round(statistics.median(sizes)), "max": max(sizes)}


def one_a_name(measure: Definition) -> list[Definition]:
    """Twenty segments, of one event name each."""
    whens = [{"event": f"Event {index}", "within": f"{30 * 24 + index}h", **measure} for index in range(LEAVES)]
    return [{"id": f"rolling-{index}", "when": when} for index, when in enumerate(whens)]


def resting(program: Any, count: int, each: int) -> Iterator[tuple[str, bytes]]:
    """Contacts' records after `each` events of every name, eight hours apart where there are several, and five traits."""
    for number in range(count):
        contact = f"contact-{number:06d}"
        at_ms = loads.START_MS + number
        state = program.apply(None, parse_event(loads.identify_line(0, contact, at_ms, at_ms)), at_ms, at_ms).state
        for index in range(each * LEAVES):
            at_ms = loads.START_MS + number + index * (60_000 if each == 1 else 28_800_000)
            line = loads.track_line(index + 1, contact, index % LEAVES, at_ms, at_ms)
            state = program.apply(state, parse_event(line), at_ms, at_ms).state
        assert state is not None
        yield contact, program.encode(state)


def _compile_us() -> float:
    """CPU µs that a definition takes from data to a place in the program, where there are ten thousand."""
    definitions = loads.grown([], SIZES[-1])
    began_s = time.process_time()
    program(definitions)
    return (time.process_time() - began_s) / len(definitions) * 1e6


def _simulate() -> Figures:
    """CPU µs a line of a million through `simulate`, reading included, and the most memory that this process ever had.

    As the command runs a file without definitions in it: no event is kept, and nothing collected.
    """
    definitions = load_data({"segments": loads.rolling_counts(100)})
    lines = _watched(loads.generated_lines(SIMULATED))
    making_s = _making_s()
    gc.disable()
    began_s = time.process_time()
    transitions = sum(isinstance(each, Transition) for each in simulate(definitions, lines, keep_past=False))
    took_s = time.process_time() - began_s - making_s
    gc.enable()
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"us": took_s / SIMULATED * 1e6, "transitions": transitions, "memory_mib": round(memory_mib)}


def _making_s() -> float:
    """What it takes to make the lines, which is no part of running through them."""
    began_s = time.process_time()
    for _ in loads.generated_lines(SIMULATED):
        pass
    return time.process_time() - began_s


def _watched(lines: Iterator[bytes]) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        if number % PROGRESS == 0:
            _say(f"simulate, {number:,} of {SIMULATED:,} lines")
        yield line


if __name__ == "__main__":
    _file, _events, _full = sys.argv[1:]
    Path(_file).write_text(json.dumps(measure(int(_events), full=bool(_full))))
