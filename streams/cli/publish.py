"""`tidegate publish`: a file of events, or of anything that a mapping makes events of, into the source topics."""

from typing import TYPE_CHECKING, Any

import click

from streams.cli.parameters import InstantType, RateType
from streams.cli.terminal import print_json, progress, run, say, settings

if TYPE_CHECKING:
    from streams.imports import Import
    from streams.publish import Published
    from streams.settings import Settings

PROBLEMS_SHOWN = 100
EVENTS_SHOWN = 10


@click.command()
@click.argument("events", metavar="FILE")
@click.option(
    "--map", "mapping", metavar="YAML", help="What the rows of FILE (CSV or JSON lines) are; makes an import."
)
@click.option("--import", "imported", is_flag=True, help="Mark events as history: no rule or sequence acts on them.")
@click.option("--live", is_flag=True, help="With --map: don't mark them; rules and sequences act.")
@click.option("--dry-run", is_flag=True, help="With --map: print the first events and read the rest; publish nothing.")
@click.option("--resume", is_flag=True, help="With --map: go on where an import of this file was broken off.")
@click.option("--bad", metavar="FILE", help="With --map: write rows that no event comes of there, to be mended.")
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
def publish(
    events: str,
    mapping: str | None,
    imported: bool,
    live: bool,
    dry_run: bool,
    resume: bool,
    bad: str | None,
    until_ms: int | None,
    rate: float | None,
    ticks: bool | None,
    as_json: bool,
) -> int:
    """Put a FILE of events into the source topics (JSON, one a line; `.gz`; `-` is standard input).

    Each event goes to the topic of its name and to its contact's partition. Where `receivedAt` is missing, `timestamp`
    is written in its place. With TIDEGATE_CLOCK=arrival, as of the workers, ticks go to all partitions while the file
    is read and at its end: they move arrival time where nothing comes. For that clock the lines should be in order of
    `receivedAt`.

    A line without a contact has no partition and is not published: its number and reason go to standard error, and the
    exit status is 1. A line with a contact that is wrong in another way is published, and the worker rejects it.

    With --map, FILE is CSV or JSON lines of any shape, and the mapping says what event a row is:

    \b
      id: orders                          # stands in the messageIds of rows that have none
      type: track                         # or identify, page, screen, group, alias, list
      event: Order Completed              # or {column: kind, values: {S: Order Completed, R: Order Refunded}}
      userId: {column: email, lower: true}
      timestamp: {column: date, format: "%d.%m.%Y %H:%M", zone: Europe/Berlin}
      properties:
        order_id: number                  # name: column
        total: {column: sum, type: number, decimal: ","}
      skip: [{column: state, eq: draft}]

    Such events are history: they are marked, happened when they say, and no rule or sequence acts on them that does
    not ask for the cause `import`. How far Kafka has them is kept in FILE.<id>.import; after a kill or an outage
    --resume goes on from there. deploy/README.md, "Importing the past", has all of it.

    \b
    Examples:
      my-exporter | tidegate publish -
      tidegate publish orders.csv.gz --map orders.yaml --dry-run
      tidegate publish orders.csv.gz --map orders.yaml --bad bad.csv
      TIDEGATE_CLOCK=arrival tidegate publish events.jsonl.gz --until 2026-03-01T00:00:00Z
    """
    given = settings()
    _check_options(mapping, {"--live": live, "--dry-run": dry_run, "--resume": resume, "--bad": bad is not None})
    if live and imported:
        raise click.UsageError("expected --import or --live, got both")
    if ticks is None:
        ticks = given.clock == "arrival"
    if until_ms is not None and not ticks:
        raise click.UsageError(
            "expected TIDEGATE_CLOCK=arrival with --until (or --ticks): it is ticks that play time on"
        )
    options = {"until_ms": until_ms, "ticks": ticks, "events_per_s": rate}
    if mapping is None:
        return _publish_lines(given, events, imported, options, as_json)
    opening = {"live": live, "resume": resume, "bad": bad, "keeps_place": not dry_run}
    return _publish_rows(given, events, mapping, opening, options, as_json)


def _check_options(mapping: str | None, asked: dict[str, bool]) -> None:
    for option, is_set in asked.items():
        if is_set and mapping is None:
            raise click.UsageError(f"expected --map with {option}: it says what the rows of the file are")


class _Problems:
    """What is said of lines: the first so many, and how many more there were."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._said = 0

    def __call__(self, number: int, sentence: str) -> None:
        self._said += 1
        if self._said <= PROBLEMS_SHOWN:
            say(f"{self._name}:{number}: {sentence}")

    def end(self) -> None:
        """Says how many weren't said."""
        if self._said > PROBLEMS_SHOWN:
            say(f"… and {self._said - PROBLEMS_SHOWN} more lines with problems")


def _publish_lines(given: "Settings", path: str, imported: bool, options: dict[str, Any], as_json: bool) -> int:
    from streams import publish as publishing
    from streams.event_lines import open_lines

    arrives_then = given.clock == "arrival"

    def route(number: int, line: bytes) -> publishing.Routed:
        return publishing.route_import(line, arrives_then=arrives_then) if imported else publishing.route(line)

    problems = _Problems(path)
    with open_lines(path) as lines, progress("events", lines.bytes_total) as advance:
        done = run(
            publishing.publish(
                given,
                lines.blocks(),
                route,
                say=problems,
                advance=lambda count: advance(count, lines.bytes_read),
                **options,
            )
        )
    problems.end()
    _say_fell(done)
    kept_back = f", {done.unroutable} lines not published" if done.unroutable else ""
    say(f"{done.events:,} events and {done.ticks:,} ticks published{kept_back}")
    if as_json:
        print_json({"events": done.events, "ticks": done.ticks, "unroutable": done.unroutable, "wrong": done.wrong})
    return 1 if done.unroutable else 0


def _say_fell(done: "Published") -> None:
    if done.fell:
        say(
            f"note: {done.fell} lines have an earlier `receivedAt` than a line before them, line {done.fell_first_line} "
            "first; with TIDEGATE_CLOCK=arrival, sort by it to get what `tidegate simulate` gets"
        )


def _publish_rows(
    given: "Settings", path: str, mapping: str, opening: dict[str, Any], options: dict[str, Any], as_json: bool
) -> int:
    from streams.definition_files import open_files
    from streams.imports import open_import
    from streams.imports_mapping import read_mapping

    if path == mapping == "-":
        raise click.UsageError("expected one of FILE and --map on standard input, got both")
    file = open_files([mapping])[0]
    problems = _Problems(path)
    with open_import(path, read_mapping(file.text, file.name), given, **opening) as imported:
        if imported.start.done:
            say(f"{path} was imported whole before: nothing to do")
            return 0
        if imported.start.offset:
            say(f"going on behind line {imported.start.lines}, up to which Kafka has {imported.start.events:,} events")
        try:
            if opening["keeps_place"]:
                _send(given, imported, problems, options)
            else:
                _show(imported, problems)
        except BaseException:
            if imported.goes_on_behind:
                say(f"Kafka has it up to line {imported.goes_on_behind}: the same command with --resume goes on there")
            raise
        finally:
            problems.end()
            if imported.not_noted is not None:
                say(f"note: {imported.not_noted}")
        done = imported.place()
    what = "published" if opening["keeps_place"] else "would be published"
    say(f"{done.events:,} events {what}, {done.skipped:,} rows left out by `skip`, {done.bad:,} bad rows")
    if as_json:
        print_json({"events": done.events, "skipped": done.skipped, "bad": done.bad})
    return 1 if done.bad else 0


def _send(given: "Settings", imported: "Import", problems: _Problems, options: dict[str, Any]) -> None:
    from streams.publish import publish as publish_blocks

    with progress("events", imported.bytes_total) as advance:
        done = run(
            publish_blocks(
                given,
                imported.blocks(),
                imported.route,
                say=problems,
                advance=lambda count: advance(count, imported.bytes_read),
                place=imported.place,
                acknowledged=imported.acknowledged,
                **options,
            )
        )
    _say_fell(done)


def _show(imported: "Import", problems: _Problems) -> None:
    """The first events on standard output; the rest is read for what is wrong with it."""
    from streams.publish import Unroutable

    shown = 0
    with progress("rows", imported.bytes_total) as advance:
        for block in imported:
            for number, row in block:
                try:
                    routed = imported.route(number, row)
                except Unroutable as error:
                    problems(number, f"no event: {error}")
                    continue
                if routed is not None and shown < EVENTS_SHOWN:
                    shown += 1
                    click.echo(routed.value.decode())
            advance(imported.place().events, imported.bytes_read)
