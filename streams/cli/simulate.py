"""`tidegate simulate`: the deterministic run (language page, section 11)."""

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from streams.cli.parameters import DurationType, InstantType
from streams.cli.terminal import progress, say, settings

if TYPE_CHECKING:
    from streams.event_lines import EventLines

PROGRESS_LINES = 1024


@click.command()
@click.argument("segments", metavar="SEGMENTS")
@click.argument("events", metavar="EVENTS")
@click.option("--until", "until_ms", type=InstantType(), help="Play time on to this instant after the last event.")
@click.option(
    "--grace", "grace_ms", type=DurationType(), help="Wait so long for late events (default: TIDEGATE_GRACE)."
)
def simulate(segments: str, events: str, until_ms: int | None, grace_ms: int | None) -> None:
    """Run the definitions in SEGMENTS over EVENTS, with no broker, and print each transition as a JSON line.

    SEGMENTS is YAML or JSON; EVENTS is JSON, one event a line, in order of arrival (`.gz`; `-` is standard input).
    Lines that are no event go to standard error as `EVENTS:LINE: reason`, and the run goes on. An error in SEGMENTS
    ends it before the first event, with exit status 2.

    \b
    Example:
      tidegate simulate segments.yaml events.jsonl.gz --until 2026-03-01 | jq -r .segment | sort | uniq -c
    """
    from segments import Limits, RejectedLine, line_of, load
    from segments import simulate as run_through
    from streams.definition_files import open_files
    from streams.event_lines import open_lines

    if segments == events == "-":
        raise click.UsageError("expected one of SEGMENTS and EVENTS on standard input, got both")
    given = settings()
    (file,) = open_files([segments])
    definitions = load(file.text, file.name)
    grace_ms = given.grace_ms if grace_ms is None else grace_ms
    limits = Limits(grace_ms=grace_ms, dedup_horizon_ms=given.dedup_horizon_ms)
    write = sys.stdout.buffer.write
    with open_lines(events) as lines:
        for emitted in run_through(definitions, _numbered(lines), until_ms, grace_ms, limits):
            if isinstance(emitted, RejectedLine):
                say(f"{events}:{emitted.line}: {emitted.reason}")
            else:
                write(line_of(emitted))
    sys.stdout.buffer.flush()


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
