"""`tidegate publish`: a file of events, or of anything that a mapping makes events of, into the source topics."""

from typing import TYPE_CHECKING, Any

import click

from streams.cli.importing import Problems, import_rows, say_fell
from streams.cli.parameters import InstantType, RateType
from streams.cli.terminal import print_json, progress, run, say, settings

if TYPE_CHECKING:
    from streams.settings import Settings


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


def _publish_lines(given: "Settings", path: str, imported: bool, options: dict[str, Any], as_json: bool) -> int:
    from streams import publish as publishing
    from streams.event_lines import open_lines

    arrives_then = given.clock == "arrival"

    def route(number: int, line: bytes) -> publishing.Routed:
        return publishing.route_import(line, arrives_then=arrives_then) if imported else publishing.route(line)

    problems = Problems(path)
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
    say_fell(done)
    kept_back = f", {done.unroutable} lines not published" if done.unroutable else ""
    say(f"{done.events:,} events and {done.ticks:,} ticks published{kept_back}")
    if as_json:
        print_json({"events": done.events, "ticks": done.ticks, "unroutable": done.unroutable, "wrong": done.wrong})
    return 1 if done.unroutable else 0


def _publish_rows(
    given: "Settings", path: str, mapping: str, opening: dict[str, Any], options: dict[str, Any], as_json: bool
) -> int:
    from streams.definition_files import open_files
    from streams.imports_mapping import read_mapping

    if path == mapping == "-":
        raise click.UsageError("expected one of FILE and --map on standard input, got both")
    file = open_files([mapping])[0]
    return import_rows(given, path, read_mapping(file.text, file.name), opening, options, as_json)
