"""`tidegate sequences`: what sequences were worth."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.cli.parameters import DurationType, InstantType
from streams.cli.terminal import json_option, progress, run, say, settings

if TYPE_CHECKING:
    from actions.report import Report
    from streams.report import Asked


@click.group()
def sequences() -> None:
    """What sequences were worth, stage by stage and against those who were held out.

    Sequences are applied, listed, shown and removed by `tidegate segments`.
    """


@sequences.command()
@click.argument("id")
@click.option("--version", type=click.IntRange(1), help="Only entries of this version.")
@click.option(
    "--window", "window_ms", type=DurationType(), default="30d", show_default=True, help="What counts, after the entry."
)
@click.option("--value", "value_event", metavar="EVENT", help="Whose sum a contact's worth is, as 'Order Completed'.")
@click.option("--property", "value_property", metavar="PATH", help="Its number (with --value; default: total).")
@click.option("--since", "since_ms", type=InstantType(), help="Only entries from this instant on.")
@click.option("--file", "files", multiple=True, metavar="EVENTS", help="Count events of this file, too; repeatable.")
@click.option(
    "--from-simulate",
    "simulated",
    nargs=2,
    metavar="SEGMENTS EVENTS",
    help="Of a run over a file of events, with no broker.",
)
@click.option("--until", "until_ms", type=InstantType(), help="With --from-simulate: play time on to this instant.")
@json_option
def report(
    id: str,
    version: int | None,
    window_ms: int,
    value_event: str | None,
    value_property: str | None,
    since_ms: int | None,
    files: tuple[str, ...],
    simulated: tuple[str, str] | None,
    until_ms: int | None,
    as_json: bool,
) -> None:
    """Report what sequence ID was worth: by version, path of each split, and step.

    Of entries: how many entered, run now, completed, left early, where and why, and converted (entered the goal's segment
    after the entry, within the window). Of each message: how many reached it, and how many of these were sent, left out,
    delivered, opened, clicked, replied to, and converted before the next message; the share of all entered, median and 90th
    percentile of the time from the stage before.

    Of each path of a split against its holdout: the share that converted and, with --value, the sum per contact, within
    the window after the entry, and the difference with its 95 % confidence interval. Each contact counts once, with
    its first entry. One whose window is not over yet is left out, and counted as such. An interval that holds 0: it may
    be chance.

    Everything comes from the topics (outcomes and deliveries are kept for 30 days, the rest for 400). E-mail events name
    their message by the property `delivery_id`, or by its Message-ID in `message_id`.

    With --from-simulate nothing is sent: a delivery counts as sent at its instant.

    \b
    Examples:
      tidegate sequences report trial-ending
      tidegate sequences report win-back --window 60d --value 'Order Completed' --property total --since 2026-01-01
      tidegate sequences report welcome --version 3 --json | jq '.versions[].splits'
      tidegate sequences report welcome --from-simulate welcome.yaml events.jsonl.gz --until 2026-06-01
    """
    from actions.report_facts import ValueOf
    from streams.cli.report_tables import print_report
    from streams.report import Asked, json_of

    if value_property is not None and value_event is None:
        raise click.UsageError("expected --value beside --property, got --property alone")
    if until_ms is not None and simulated is None:
        raise click.UsageError("expected --from-simulate beside --until, got --until alone")
    if simulated is not None and (files or "-" in simulated):
        raise click.UsageError("expected two files in --from-simulate and no --file: events are read twice")
    value = None if value_event is None else ValueOf(value_event, value_property or "total")
    asked = Asked(id, window_ms, version, since_ms, value)
    made = _read(asked, files) if simulated is None else _simulate(asked, *simulated, until_ms)
    if as_json:
        click.echo(json_of(made).decode())
    else:
        print_report(made)
    if not made.versions:
        say(f"nobody has entered {id!r}" + ("" if version is None and since_ms is None else " of these"))


def _read(asked: "Asked", files: tuple[str, ...]) -> "Report":
    from streams.clock import SystemClock
    from streams.report import read_report, survey

    given = settings()
    with progress("records", run(survey(given))) as advance:
        return run(read_report(given, asked, files, SystemClock().now_ms(), advance))


def _simulate(asked: "Asked", segments: str, events: str, until_ms: int | None) -> "Report":
    from streams.definition_files import check_files, open_files
    from streams.report import simulated_report
    from streams.revisions import InForce

    given = settings()
    limits = given.limits()
    checked = check_files(open_files([segments]), InForce(), Path(given.templates), limits)
    return simulated_report(asked, checked.definitions, checked.sequences, events, until_ms, limits)
