"""`tidegate publish`: a file of events into the source topics."""

from typing import TYPE_CHECKING

import click

from streams.cli.parameters import InstantType, RateType
from streams.cli.terminal import print_json, progress, run, say, settings

if TYPE_CHECKING:
    from streams.publish import Published

PROBLEMS_SHOWN = 100


@click.command()
@click.argument("events", metavar="EVENTS")
@click.option(
    "--until", "until_ms", type=InstantType(), help="Play time on to this instant (and the grace) at the end."
)
@click.option("--rate", type=RateType(), help="At most so many events a second.")
@click.option(
    "--ticks/--no-ticks",
    default=None,
    help="Write ticks, or none; default: those where TIDEGATE_CLOCK=arrival is set, as other workers reject them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def publish(events: str, until_ms: int | None, rate: float | None, ticks: bool | None, as_json: bool) -> int:
    """Put a file of EVENTS into the source topics (JSON, one a line; `.gz`; `-` is standard input).

    Each event goes to the topic of its name and to its contact's partition. Where `receivedAt` is missing, `timestamp`
    is written in its place. With TIDEGATE_CLOCK=arrival, as of the workers, ticks go to all partitions while the file
    is read and at its end: they move arrival time where nothing comes. For that clock the lines should be in order of
    `receivedAt`.

    A line without a contact has no partition and is not published: its number and reason go to standard error, and the
    exit status is 1. A line with a contact that is wrong in another way is published, and the worker rejects it.

    \b
    Examples:
      my-exporter | tidegate publish -
      TIDEGATE_CLOCK=arrival tidegate publish events.jsonl.gz --until 2026-03-01T00:00:00Z
    """
    from streams import publish as publishing
    from streams.event_lines import open_lines

    given = settings()
    if ticks is None:
        ticks = given.clock == "arrival"
    if until_ms is not None and not ticks:
        raise click.UsageError(
            "expected TIDEGATE_CLOCK=arrival with --until (or --ticks): it is ticks that play time on"
        )
    said = 0

    def problem(number: int, sentence: str) -> None:
        nonlocal said
        said += 1
        if said <= PROBLEMS_SHOWN:
            say(f"{lines.name}:{number}: {sentence}")

    with open_lines(events) as lines, progress("events", lines.bytes_total) as advance:
        done = run(
            publishing.publish(
                given,
                lines.blocks(),
                until_ms=until_ms,
                ticks=ticks,
                events_per_s=rate,
                say=problem,
                advance=lambda count: advance(count, lines.bytes_read),
            )
        )
    _say_done(done, said)
    if as_json:
        print_json({"events": done.events, "ticks": done.ticks, "unroutable": done.unroutable, "wrong": done.wrong})
    return 1 if done.unroutable else 0


def _say_done(done: "Published", said: int) -> None:
    if said > PROBLEMS_SHOWN:
        say(f"… and {said - PROBLEMS_SHOWN} more lines with problems")
    if done.fell:
        say(
            f"note: {done.fell} lines have an earlier `receivedAt` than a line before them, line {done.fell_first_line} "
            "first; with TIDEGATE_CLOCK=arrival, sort by it to get what `tidegate simulate` gets"
        )
    kept_back = f", {done.unroutable} lines not published" if done.unroutable else ""
    say(f"{done.events:,} events and {done.ticks:,} ticks published{kept_back}")
