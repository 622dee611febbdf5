"""`tidegate segments show`, `history` and `diff`: definitions as they are and were, who changed them, and how."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from schemas.instants import format_instant
from streams.cli.terminal import json_option, print_json, print_table, printable, run, say, settings

if TYPE_CHECKING:
    from streams.differences import Difference
    from streams.revisions import Name, Revisions

HASH_LENGTH = 12
_VALUE_LENGTH_MAX = 200


@click.command()
@click.argument("id")
@click.option("--version", type=click.IntRange(min=1), metavar="N", help="Version N in place of the one in force.")
@json_option
def show(id: str, version: int | None, as_json: bool) -> None:
    """Show a definition as it was written: that in force, or an earlier version.

    \b
    Example:
      tidegate segments show big-spenders
      tidegate segments show big-spenders --version 3 > big-spenders.yaml
    """
    from streams import versions
    from streams.definition_files import find
    from streams.definitions import read_revisions
    from streams.revisions import hash_of

    revisions = run(read_revisions(settings()))
    in_force = revisions.in_force
    (name,) = find(in_force, [id]) if version is None else [versions.find_ever(revisions, id)]
    current = in_force.records.get(name)
    record = versions.version(revisions, name, version) if version is not None else in_force.records[name]
    is_current = current is not None and current.version == record.version
    since_ms = in_force.since_ms[name] if is_current else versions.since_ms(revisions, name, record.version)
    since = None if since_ms is None else format_instant(since_ms)
    if as_json:
        print_json({
            "kind": name[0], "id": name[1], "version": record.version, "in_force": is_current, "since": since,
            "hash": hash_of(record.body), "body": record.body,
        })  # fmt: skip
        return
    import yaml

    key = "policies" if name[0] == "policy" else f"{name[0]}s"
    click.echo(yaml.safe_dump({key: [record.body]}, sort_keys=False, allow_unicode=True), nl=False)
    stands = f"in force since {since}" if is_current else f"not in force; it came into force at {since}"
    say(f"version {record.version}, {stands}")


@click.command()
@click.argument("id", required=False)
@json_option
def history(id: str | None, as_json: bool) -> None:
    """List the revisions: when each was applied, by whom and why; with ID, those that did something to it.

    \b
    Example:
      tidegate segments history
      tidegate segments history big-spenders
    """
    from streams import versions
    from streams.definitions import read_revisions

    revisions = run(read_revisions(settings()))
    if id is not None:
        _print_steps(revisions, versions.find_ever(revisions, id), as_json)
        return
    columns = ("revision", "applied", "author", "definitions", "hash", "note")
    rows = [
        (
            each.number, format_instant(each.applied_at_ms), each.author or None, len(each.definitions),
            each.hash[:HASH_LENGTH], each.note or None,
        )
        for each in revisions.history
    ]  # fmt: skip
    print_table(columns, rows, as_json)


def _print_steps(revisions: "Revisions", name: "Name", as_json: bool) -> None:
    from streams import versions
    from streams.revisions import hash_of

    rows = [
        (
            step.revision.number, format_instant(step.revision.applied_at_ms), step.revision.author or None,
            step.version, step.what, hash_of(step.record.body)[:HASH_LENGTH] if step.record else None,
            step.revision.note or None,
        )
        for step in versions.history_of(revisions, name)
    ]  # fmt: skip
    print_table(("revision", "applied", "author", "version", "is", "hash", "note"), rows, as_json)


@click.command()
@click.argument("id")
@click.argument("old", type=click.IntRange(min=1), required=False, metavar="[OLD")
@click.argument("new", type=click.IntRange(min=1), required=False, metavar="[NEW]]")
@json_option
def diff(id: str, old: int | None, new: int | None, as_json: bool) -> None:
    """Compare two versions of a definition: the last two, OLD with the last one, or OLD with NEW.

    Each difference is a line with its path: `~` what is another value now, `+` what is there now, `-` what was.

    \b
    Example:
      tidegate segments diff big-spenders
      tidegate segments diff big-spenders 2 5
    """
    from streams import versions
    from streams.definitions import read_revisions
    from streams.differences import ABSENT

    revisions = run(read_revisions(settings()))
    name = versions.find_ever(revisions, id)
    numbers = list(revisions.versions(name))
    new = new or numbers[-1]
    if old is None:
        old = max((number for number in numbers if number < new), default=None)
    found = list(_differences(revisions, name, old, new)) if old is not None else []
    if as_json:
        listed = [
            {"path": each.path}
            | {key: value for key, value in (("old", each.old), ("new", each.new)) if value is not ABSENT}
            for each in found
        ]
        print_json({"kind": name[0], "id": name[1], "old": old, "new": new, "differences": listed})
        return
    if old is None:
        say(f"{name[0]} {name[1]} has no version before {new}: there is nothing to compare")
        return
    for each in found:
        click.echo(_line(each))
    say(f"{name[0]} {name[1]}, version {old} to {new}: " + (f"{len(found)} differences" if found else "no difference"))


def _differences(revisions: "Revisions", name: "Name", old: int, new: int) -> "Iterator[Difference]":
    from streams import versions
    from streams.differences import differences

    before, after = (versions.version(revisions, name, number).body for number in (old, new))
    return differences(before, after)


def _line(difference: "Difference") -> str:
    from streams.differences import ABSENT

    path, old, new = printable(difference.path), difference.old, difference.new
    if old is ABSENT:
        return f"+ {path}: {_short(new)}"
    return f"- {path}: {_short(old)}" if new is ABSENT else f"~ {path}: {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    import msgspec

    text = printable(msgspec.json.encode(value).decode())
    return text if len(text) <= _VALUE_LENGTH_MAX else text[: _VALUE_LENGTH_MAX - 1] + "…"
