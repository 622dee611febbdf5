"""`tidegate simulate`: the deterministic run (language page, section 11)."""

import contextlib
import gc
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from schemas.instants import format_instant
from streams.cli.parameters import DurationType, InstantType
from streams.cli.terminal import print_json, print_table, progress, say, settings

if TYPE_CHECKING:
    from actions.sequences import Sequence
    from segments import Definitions, Limits
    from segments.stats import Period, Stats
    from streams.definition_files import File
    from streams.event_lines import EventLines

PROGRESS_LINES = 1024
_GAP = len("  ")


@click.command()
@click.argument("segments", metavar="SEGMENTS")
@click.argument("events", metavar="EVENTS")
@click.option("--until", "until_ms", type=InstantType(), help="Play time on to this instant after the last event.")
@click.option(
    "--grace", "grace_ms", type=DurationType(), help="Wait so long for late events (default: TIDEGATE_GRACE)."
)
@click.option(
    "--sequences",
    "sequence_files",
    multiple=True,
    metavar="FILE",
    help="Lead contacts through the sequences in FILE, too, and print each delivery; repeatable.",
)
@click.option("--stats", "with_stats", is_flag=True, help="In place of transitions, a table of sizes over time.")
@click.option("--json", "as_json", is_flag=True, help="With --stats: JSON in place of a table.")
def simulate(
    segments: str,
    events: str,
    until_ms: int | None,
    grace_ms: int | None,
    sequence_files: tuple[str, ...],
    with_stats: bool,
    as_json: bool,
) -> None:
    """Run the definitions in SEGMENTS over EVENTS, with no broker, and print each transition as a JSON line.

    SEGMENTS is YAML or JSON; EVENTS is JSON, one event a line, in order of arrival (`.gz`; `-` is standard input).
    Lines that are no event go to standard error as `EVENTS:LINE: reason`, and the run goes on. An error in SEGMENTS
    ends it before the first event, with exit status 2.

    With --sequences, or where SEGMENTS has some, contacts are led through sequences (those of a FILE may ask for segments
    in SEGMENTS), as if they had been in force before the first event and nobody were ever behind. Each delivery is a line
    where it happens: {delivery, sequence, step, contact, key, channel, target, at}.

    With --stats, of each segment: how often it was entered and left, memberships at the end, contacts that were ever in
    it, and its sizes over time: memberships at the end of an hour or, where the transitions span more than three days, of
    a day (of UTC). The table has as many columns of sizes as fit; --json has all of them:
    {period, segments [{segment, entries, exits, members, contacts, sizes [{from, entries, exits, size}]}]}.

    \b
    Examples:
      tidegate simulate segments.yaml events.jsonl.gz --until 2026-03-01 | jq -r .segment | sort | uniq -c
      tidegate simulate segments.yaml events.jsonl.gz --stats
      tidegate simulate segments.yaml events.jsonl.gz --sequences welcome.yaml | jq -c 'select(.delivery)'
    """
    from actions.sequences import is_quiet
    from actions.simulated import Told, delivery_line, simulate_all
    from segments import RejectedLine, line_of
    from segments.stats import Stats
    from streams.definition_files import open_files
    from streams.event_lines import open_lines

    if segments == events == "-":
        raise click.UsageError("expected one of SEGMENTS and EVENTS on standard input, got both")
    if as_json and not with_stats:
        raise click.UsageError("expected --stats beside --json, got --json alone: transitions are JSON lines anyway")
    limits = settings().limits(grace_ms)
    definitions, sequences = definitions_of(open_files([segments, *sequence_files]), limits)
    stats = Stats(segment.id for segment in definitions.segments if not is_quiet(segment.id)) if with_stats else None
    write = sys.stdout.buffer.write
    keep_past = _has_definitions(events)
    with _uncollected(), open_lines(events) as lines:
        for emitted in simulate_all(definitions, sequences, _numbered(lines), until_ms, limits, keep_past=keep_past):
            if isinstance(emitted, RejectedLine):
                say(f"{events}:{emitted.line}: {emitted.reason}")
            elif isinstance(emitted, Told):
                if stats is None and emitted.kind == "delivery":
                    write(delivery_line(emitted, sequences))
            elif stats is not None:
                stats.add(emitted)
            else:
                write(line_of(emitted))
    if stats is None:
        sys.stdout.buffer.flush()
    elif as_json:
        print_json(stats.json())
    else:
        _print_stats(stats)


def definitions_of(files: "list[File]", limits: "Limits") -> "tuple[Definitions, tuple[Sequence, ...]]":
    """What the files say, with what sequences lift. Rules are not looked at."""
    from segments import load
    from segments.read import read_text
    from streams.definition_files import check_files
    from streams.revisions import InForce

    data = [read_text(file.text, file.name) for file in files]
    if not any(isinstance(each, dict) and "sequences" in each for each in data):
        if len(files) > 1:
            raise click.UsageError(f"expected `sequences` in {' or '.join(file.name for file in files)}, got none")
        return load(files[0].text, files[0].name, limits), ()
    checked = check_files(files, InForce(), Path(settings().templates), limits)
    return checked.definitions, checked.sequences


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without Python's collector: it would walk all contacts' states again and again, and steps make no cycles."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _has_definitions(events: str) -> bool:
    """Whether a line may bring other definitions, so that all events have to be kept; True where that can't be seen."""
    from streams.event_lines import open_lines

    if not Path(events).is_file():
        return True
    with open_lines(events) as lines:
        return any(b'"definitions"' in line for _, line in lines)


def _print_stats(stats: "Stats") -> None:
    """The table, with sizes at the ends of as many periods as the terminal is wide enough for, the last among them."""
    from segments.stats import HOUR_MS

    own = ("segment", "entries", "exits", "members", "contacts")
    by_id = sorted(stats.by_segment.items())
    rows: list[list[str | int]] = [[id, one.entries, one.exits, one.members, len(one.contacts)] for id, one in by_id]
    periods = {id: stats.periods(id) for id, _ in by_id}
    starts = next(iter(periods.values()), [])
    labels = [_label(period, stats.unit_ms() == HOUR_MS) for period in starts]
    widths = [max(map(len, map(str, column))) for column in zip(own, *rows, strict=True)]
    room = shutil.get_terminal_size((120, 24)).columns - sum(widths) - _GAP * (len(own) - 1)
    chosen = _evenly(len(labels), max(room // (len(labels[0]) + _GAP), 1) if labels else 0)
    for row, sizes in zip(rows, periods.values(), strict=True):
        row.extend(sizes[at].size for at in chosen)
    print_table((*own, *(labels[at] for at in chosen)), rows, False)


def _label(period: "Period", by_hour: bool) -> str:
    text = format_instant(period.start_ms)
    return text[5:13] if by_hour else text[:10]


def _evenly(count: int, most: int) -> list[int]:
    """At most so many of the numbers below `count`, evenly apart, the last among them."""
    if count <= most:
        return list(range(count))
    return [count - 1 - (count - 1) * at // max(most - 1, 1) for at in range(most - 1, -1, -1)]


def _numbered(lines: "EventLines") -> Iterator[bytes]:
    """All lines, blank ones too, so that counting them gives their numbers; shows how far it got on a terminal."""
    last = 0
    # a bar among transitions on one screen would help nobody
    watched = sys.stderr.isatty() and not sys.stdout.isatty()
    with progress("lines", lines.bytes_total) if watched else contextlib.nullcontext() as advance:
        for number, line in lines:
            for _ in range(number - last - 1):
                yield b""
            last = number
            yield line
            if advance is not None and number % PROGRESS_LINES == 0:
                advance(number, lines.bytes_read)
