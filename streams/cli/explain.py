"""`tidegate explain`: why a contact is in a segment, or isn't."""

import shutil
import sys
from collections.abc import Iterator

import click

from streams.cli.parameters import DurationType, InstantType
from streams.cli.simulate import definitions_of
from streams.cli.terminal import print_json, settings

_STYLES = {
    "yes": {"fg": "green", "bold": True},
    "no": {"fg": "red"},
    "head": {"bold": True},
    "note": {"fg": "yellow"},
    "dim": {"dim": True},
}


@click.command()
@click.argument("segments", metavar="SEGMENTS")
@click.argument("events", metavar="EVENTS")
@click.option("--contact", required=True, metavar="CONTACT", help="The contact, by any of the names that mean it.")
@click.option("--segment", metavar="SEGMENT", help="This segment alone.")
@click.option("--key", metavar="KEY", help="Of a segment with `per`, this value alone (default: the three seen last).")
@click.option(
    "--sequences",
    "sequence_files",
    metavar="FILE",
    multiple=True,
    help="Lead the contact through the sequences in FILE, too, and say where it stands in them; repeatable.",
)
@click.option("--at", "at_ms", type=InstantType(), help="The instant to look at (default: after the last event).")
@click.option(
    "--grace", "grace_ms", type=DurationType(), help="Wait so long for late events (default: TIDEGATE_GRACE)."
)
@click.option("--json", "as_json", is_flag=True, help="JSON in place of text.")
def explain(
    segments: str,
    events: str,
    contact: str,
    segment: str | None,
    key: str | None,
    sequence_files: tuple[str, ...],
    at_ms: int | None,
    grace_ms: int | None,
    as_json: bool,
) -> None:
    """Explain why CONTACT is in each segment of SEGMENTS, or isn't, after EVENTS.

    Each condition is shown as it was written, with its answer, the value or the events behind it, and when time alone
    would change it. Notes say what can't match and would be silent about it: a name that never came, a number test on a
    word. Files are read as `simulate` reads them, without a broker; with `--at`, lines that arrived later are left out,
    and time is played up to that instant. No such contact or segment: exit status 2.

    With --sequences, or where SEGMENTS has some, it is led through them as `simulate` does. Below the segments stands what
    it is in: at which step since when, what that waits for and until when, what goal, exits and branches ahead answer
    now; and how what it was in ended.

    \b
    JSON (fields are only ever added; what isn't known or never comes is null):
      contact, names, known_since, at, looked_ahead_to, notes, rejected {count, lines [{line, reason}]},
      segments [{segment, name, version, keys, notes,
                 memberships [{key, member, since, seq, changes {at, to}, why, hold {answer, since, takes_effect},
                               condition {path, says, answer, changes {at, to}, evidence, notes, parts [...]}}]}],
      with sequences also sequences {running [{sequence, version, key, since, step, step_since, waits, until, converted,
                                               splits {split: path}, conditions [{role, says, member}]}],
                                     ended [{sequence, key, since, ended, how, step}]}

    \b
    Examples:
      tidegate explain segments.yaml events.jsonl --contact c-17
      tidegate explain segments.yaml events.jsonl.gz --contact c-17 --segment trial-ending --at 2026-03-01 --json
      tidegate explain segments.yaml events.jsonl --contact c-17 --sequences welcome.yaml
    """
    from actions.standing import machine_of, standing_of
    from actions.standing_text import text_of as standing_text
    from segments.explain import explain as explained
    from segments.explain_nodes import UnknownName
    from segments.explain_text import text_of
    from streams.definition_files import open_files
    from streams.errors import InputError

    if events == "-" and "-" in (segments, *sequence_files):
        raise click.UsageError("expected one of SEGMENTS, EVENTS and FILE on standard input, got several")
    if key is not None and segment is None:
        raise click.UsageError("expected --segment beside --key, got --key alone: each `per` has values of its own")
    limits = settings().limits(grace_ms)
    definitions, sequences = definitions_of(open_files([segments, *sequence_files]), limits)
    follower = machine_of(sequences, limits) if sequences else None
    lines = _Lines(events) if events != "-" else list(_Lines(events))
    try:
        found = explained(
            definitions, lines, contact, segment=segment, key=key, at_ms=at_ms, limits=limits, follower=follower
        )
        standing = standing_of(definitions, sequences, lines, contact, at_ms, limits) if sequences else None
    except UnknownName as error:
        raise InputError(str(error)) from None
    if as_json:
        also = {"sequences": standing.json()} if standing is not None else {}
        print_json(found.json() | also)
        return
    coloured, width = sys.stdout.isatty(), shutil.get_terminal_size((120, 24)).columns
    click.echo(text_of(found, width, _paint), nl=False, color=coloured)
    if standing is not None:
        click.echo("\n" + standing_text(standing, found.contact, width, _paint), nl=False, color=coloured)


def _paint(text: str, style: str) -> str:
    return click.style(text, **_STYLES[style])  # type: ignore[arg-type]


class _Lines:
    """The lines of a file, from its start each time they are gone through; blank where one is missing, so that they count."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        from streams.event_lines import open_lines

        last = 0
        with open_lines(self._path) as lines:
            for number, line in lines:
                for _ in range(number - last - 1):
                    yield b""
                last = number
                yield line
