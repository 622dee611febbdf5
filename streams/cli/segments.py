"""`tidegate segments`: definitions in force, put there and taken out; `segment_versions.py` has their past."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from schemas.instants import format_instant
from streams.cli.segment_versions import diff, history, show
from streams.cli.terminal import json_option, print_table, run, say, settings

NAMED_MAX = 10
_AUTHOR_LENGTH_MAX = 200
_NOTE_LENGTH_MAX = 2_000


def signed(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of a command that writes a revision: who does it, and why."""
    author = click.option("--author", help="Who does this; else TIDEGATE_AUTHOR, else the user of this machine.")
    note = click.option("--note", default="", help="Why, for whoever reads `tidegate segments history`.")
    return author(note(command))


@click.group()
def segments() -> None:
    """Apply, list, compare and remove segments, scores, rules, sequences and policies, each under its own key in a file."""


@segments.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@signed
@json_option
def apply(files: tuple[str, ...], author: str | None, note: str, as_json: bool) -> None:
    """Put the definitions of FILE... in force, all of them or, where one has an error, none.

    Definitions in force that the files don't name stay as they are. A segment gets a new version when its `when`,
    `per`, `tz` or `hold` differs, or a score that it reads; a score when anything does; all else when anything but
    name, description, tags or owner does. Any other difference is taken over under the version in force, and emits nothing.

    \b
    Example:
      tidegate segments apply segments.yaml rules.yaml --note "carts count for a week now"
    """
    from streams.clock import SystemClock
    from streams.definition_files import check_files, check_topics, open_files
    from streams.definitions import commit, events_taken, read_in_force
    from streams.revisions import Change, revise

    given = settings()
    by = _author(author or given.author, note)
    opened = open_files(files)
    in_force = run(read_in_force(given))
    bodies = check_files(opened, in_force, Path(given.templates), given.limits()).bodies
    check_topics(bodies, given.prefix)
    revised = revise(in_force, bodies, (), SystemClock().now_ms(), author=by, note=note)
    changes = revised.changes if revised else [
        Change(kind, id, in_force.records[kind, id].version, "unchanged") for kind, id in bodies
    ]  # fmt: skip
    number = revised.revision.number if revised else in_force.number
    if revised:
        run(commit(given, revised))
    rows = [(change.kind, change.id, change.version, change.what) for change in changes]
    print_table(("kind", "id", "version", "is"), rows, as_json)
    say(f"revision {number} is in force" + ("" if revised else ", as before: nothing differs"))
    counting = [change.id for change in changes if change.kind == "segment" and change.what in ("new", "changed")]
    taken = run(events_taken(given)) if counting else False
    if taken:
        named = ", ".join(counting[:NAMED_MAX])
        more = f" and {len(counting) - NAMED_MAX} more" if len(counting) > NAMED_MAX else ""
        say(
            f"note: events have been taken already; conditions on events of {named}{more} count from now on "
            "(traits as they stand)"
        )


@segments.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@signed
@json_option
def remove(ids: tuple[str, ...], author: str | None, note: str, as_json: bool) -> None:
    """Take definitions out of force: members of a segment leave it, a rule sends nothing more, a sequence ends.

    Refused where another segment, a rule or a sequence refers to one of them, unless that is removed with it. ID may be
    `segment/ID`, `score/ID`, `rule/ID`, `sequence/ID` or `policy/ID` where several have the same id.

    \b
    Example:
      tidegate segments remove abandoned-cart rule/cart-mail
    """
    from streams.clock import SystemClock
    from streams.definition_files import check_removal, find
    from streams.definitions import commit, read_in_force
    from streams.revisions import revise

    given = settings()
    by = _author(author or given.author, note)
    in_force = run(read_in_force(given))
    removed = find(in_force, ids)
    check_removal(in_force, removed, given.limits())
    revised = revise(in_force, {}, removed, SystemClock().now_ms(), author=by, note=note)
    assert revised is not None, "what was found in force is gone now"
    run(commit(given, revised))
    print_table(("kind", "id", "version", "is"), [(c.kind, c.id, c.version, c.what) for c in revised.changes], as_json)
    say(f"revision {revised.revision.number} is in force")


@segments.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the definitions in force.

    \b
    Example:
      tidegate segments list --json | jq -r '.[].id'
    """
    from streams.definitions import read_in_force

    in_force = run(read_in_force(settings()))
    rows = [
        (record.kind, record.id, record.version, format_instant(in_force.since_ms[name]), record.body.get("name"))
        for name, record in in_force.records.items()
    ]
    if not rows and not as_json:
        say("nothing is in force: `tidegate segments apply FILE...` puts definitions in force")
        return
    print_table(("kind", "id", "version", "since", "name"), rows, as_json)
    say(f"revision {in_force.number} is in force; events count for a segment from its `since` on, not from before")


segments.add_command(show)
segments.add_command(history)
segments.add_command(diff)


def _author(given: str, note: str) -> str:
    """Who writes a revision; raises `InputError` where that or the note is longer than anybody reads."""
    import getpass
    import os

    from streams.errors import InputError

    for what, text, most in (("an author", given, _AUTHOR_LENGTH_MAX), ("a note", note, _NOTE_LENGTH_MAX)):
        if len(text) > most:
            raise InputError(f"expected {what} of at most {most} characters, got {len(text)}")
    if given:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        return f"uid {os.getuid()}"
