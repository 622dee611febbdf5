"""`tidegate contact`: what is known of a contact, and which segments it is or was in."""

from typing import TYPE_CHECKING, Any

import click
import msgspec
import orjson

from schemas.instants import format_instant
from streams.cli.parameters import InstantType
from streams.cli.terminal import json_option, print_json, print_table, progress, run, say, settings

if TYPE_CHECKING:
    from streams.lookups import Contact
    from streams.past import Stay
    from streams.settings import Settings


@click.command()
@click.argument("id")
@click.option("--at", "at_ms", type=InstantType(), help="The segments that it was in at this instant, in place of now.")
@json_option
def contact(id: str, at_ms: int | None, as_json: bool) -> int:
    """Show what is known of contact ID: traits, consent, and its memberships.

    From Redis, as a projector keeps it: a moment behind the workers. Those that it has left are listed, too (`member` no);
    `since` is when it entered or left last, `seq` how many transitions that makes, `version` that of the segment. No such
    contact, or one that was erased: exit status 2.

    With --at, the segments that it was in at that instant, as was told until then: from the log of transitions, of which a
    partition is read through. `since` is missing where it entered before the log begins. An instant before that, or before
    the contact was erased, is refused, with the one from which on it can be told.

    \b
    JSON (fields are only ever added; what isn't known is null):
      contact, traits, consent {group: {on, at}}, changed_at, memberships [{segment, key, member, since, seq, version}]
      with --at: contact, at, memberships [{segment, key, since, seq, version}]

    \b
    Examples:
      tidegate contact c-17
      tidegate contact c-17 --at 2026-03-01T09:30:00Z --json | jq -r '.memberships[].segment'
    """
    from streams.clock import SystemClock

    if at_ms is not None and at_ms > (now_ms := SystemClock().now_ms()):
        raise click.UsageError(
            f"expected an instant that is over in --at, got {format_instant(at_ms)} at {format_instant(now_ms)}"
        )
    given = settings()
    found = run(_known(given, id))
    if found is None:
        say(f"expected the id of a contact, got {id!r}, which isn't known, or was erased")
        return 2
    if at_ms is not None:
        _show_past(id, at_ms, _past(given, found, at_ms), as_json)
    elif as_json:
        print_json(msgspec.to_builtins(found))
    else:
        _show(found)
    return 0


async def _known(given: "Settings", id: str) -> "Contact | None":
    from streams.lookups import lookups

    async with lookups(given) as asked:
        return await asked.contact(id)


def _past(given: "Settings", found: "Contact", at_ms: int) -> "list[Stay]":
    from streams.past import read_past, survey

    offsets = run(survey(given, found.contact))
    with progress("records", len(offsets)) as advance:
        return run(read_past(given, found, at_ms, offsets, advance))


def _show(found: "Contact") -> None:
    changed = "" if found.changed_at is None else f", traits and consent as of {found.changed_at}"
    click.echo(f"{_plain(found.contact)}{changed}")
    _section(("trait", "value"), [(name, _json(value)) for name, value in sorted(found.traits.items())])
    consent = [(name or "(every group)", _yes(each.on), each.at) for name, each in sorted(found.consent.items())]
    _section(("group", "wanted", "since"), consent)
    columns = ("segment", "key", "member", "since", "seq", "version")
    rows = [
        (each.segment, each.key, _yes(each.member), each.since, each.seq, each.version) for each in found.memberships
    ]
    _section(columns, rows)


def _section(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    if rows:
        click.echo()
        print_table(columns, rows, False)


def _show_past(id: str, at_ms: int, stays: "list[Stay]", as_json: bool) -> None:
    at = format_instant(at_ms)
    if as_json:
        print_json({"contact": id, "at": at, "memberships": msgspec.to_builtins(stays)})
    elif stays:
        columns = ("segment", "key", "since", "seq", "version")
        print_table(columns, [[getattr(each, name) for name in columns] for each in stays], False)
    else:
        say(f"{_plain(id)} was in no segment at {at}")


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _plain(id: str) -> str:
    return id if id.isprintable() else repr(id)
