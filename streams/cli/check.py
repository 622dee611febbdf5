"""`tidegate check`: are the definitions sound?"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from streams.cli.parameters import DurationType
from streams.cli.terminal import run, say, settings

if TYPE_CHECKING:
    from schemas.events import Event
    from segments.warn_fields import KnownFields
    from streams.definition_files import Checked


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--events", metavar="EVENTS", help="A sample of events, JSON lines (`.gz`; `-` is standard input).")
@click.option(
    "--retention", "retention_ms", type=DurationType(), help="How long the topics keep events (default: 400d)."
)
@click.option(
    "--fields/--no-fields",
    default=None,
    help="Ask Redis which traits and properties events have had (default: where TIDEGATE_REDIS is set).",
)
@click.option("--strict", is_flag=True, help="Exit with status 1 where there is a warning.")
def check(
    files: tuple[str, ...], events: str | None, retention_ms: int | None, fields: bool | None, strict: bool
) -> None:
    """Check FILE... of segments, scores, rules, sequences and policies (YAML or JSON, `-` is standard input), together.

    Each error goes to standard error on a line: what was expected, what came, and where. Exit status 2 where there is
    one. No broker is asked; `tidegate segments apply` checks again, with what is in force. Which topics are ours, and so
    none that a message may go to, TIDEGATE_PREFIX says.

    Then come warnings, of what is legal and surely not meant: a condition that can never be true, a segment that
    everyone is in, a window longer than events are kept. With a sample of events, also of names, properties and traits
    that nothing in it has, those of messages among them, and of events without the property that a `per` or `by` needs.
    And where a projector keeps the catalogue of fields (`tidegate fields`), of traits and properties that no event ever had;
    where Redis can't tell, that is said, and the rest is checked.

    \b
    Examples:
      tidegate check segments.yaml rules.yaml
      tidegate check --strict --events sample.jsonl.gz segments.yaml
    """
    from streams.definition_files import check_files, check_topics, open_files
    from streams.revisions import InForce, Kind

    if events == "-" and "-" in files:
        raise click.UsageError("expected one of FILE and EVENTS on standard input, got both")
    given = settings()
    checked = check_files(open_files(files), InForce(), Path(given.templates), given.limits())
    check_topics(checked.bodies, given.prefix)
    known = _known(checked) if fields or (fields is None and "TIDEGATE_REDIS" in os.environ) else None
    warned = _warnings(checked, events, retention_ms, known)
    for line in warned:
        say(f"warning: {line}")
    if warned and strict:
        raise click.exceptions.Exit(1)
    counts = {kind: sum(name[0] == kind for name in checked.bodies) for kind in get_args(Kind)}
    click.echo(", ".join(_counted(kind, count) for kind, count in counts.items() if count) + ": sound")


def _counted(kind: str, count: int) -> str:
    many = "policies" if kind == "policy" else f"{kind}s"
    return f"{count} {kind if count == 1 else many}"


def _known(checked: "Checked") -> "KnownFields | None":
    """What events have had; None where that can't be told, which is said."""
    from actions.sequences import Set
    from streams.errors import StreamsError
    from streams.fields_known import read_known

    steps = [step for sequence in checked.sequences for step in sequence.steps]
    made = [step.traits for step in steps if isinstance(step, Set) and step.traits]
    try:
        return run(read_known(settings(), made))
    except StreamsError as error:
        say(f"nothing is compared with the fields that events have had: {error}")
        return None


def _warnings(
    checked: "Checked", events: str | None, retention_ms: int | None, known: "KnownFields | None"
) -> list[str]:
    from actions import in_sequence, rule_of, warn_of_sequences
    from actions.message_traits import MessageTraits
    from segments.warn import RETENTION_MS, warnings

    if retention_ms is None:
        retention_ms = RETENTION_MS
    rules = [rule_of(body) for (kind, _), body in checked.bodies.items() if kind == "rule"]
    asked = MessageTraits(rules, checked.sequences)
    sample = None if events is None else asked.through(_sample(events))
    lines = warnings(checked.definitions, retention_ms=retention_ms, events=sample, fields=known)
    return [
        *(in_sequence(line, checked.sequences) for line in lines),
        *warn_of_sequences(checked.sequences, checked.definitions),
        *asked.lines(),
        *(() if known is None else asked.never_had(known)),
    ]


def _sample(path: str) -> Iterator["Event"]:
    """The events in a file; lines that are none are told on standard error, and left out."""
    from schemas.events import parse_event
    from schemas.rejected import Rejection
    from streams.event_lines import open_lines

    with open_lines(path) as lines:
        for number, line in lines:
            try:
                yield parse_event(line)
            except Rejection as rejection:
                say(f"{path}:{number}: {rejection.sentence}")
