"""`tidegate fields`: which traits and properties events have."""

from typing import TYPE_CHECKING

import click
import msgspec

from streams.cli.terminal import json_option, print_json, print_table, run, say, settings

if TYPE_CHECKING:
    from streams.fields_shown import Fields, FieldShown, Question


@click.command()
@click.option("--event", metavar="NAME", help="Properties of the events of this name alone.")
@click.option("--traits", is_flag=True, help="Traits alone.")
@click.option("--source", metavar="NAME", help="What this source sends, alone.")
@click.option("--conflicts", is_flag=True, help="What comes in more than one type, alone.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="At most so many.")
@json_option
def fields(event: str | None, traits: bool, source: str | None, conflicts: bool, limit: int, as_json: bool) -> None:
    """List the traits and properties that events have had, as they came: nobody has to declare them.

    A projector reads all events and keeps this in Redis: of each field its types (text, number, boolean, instant, array,
    object, null), who sends it, in which minute it came last, and a sample. A source is what an event says in
    `context.source` (the gateway's connections do), else the name of its library, else its topic.

    More than one type (`!`, null apart) is a conflict: the same condition means another thing for some contacts. With
    --conflicts each type has the sources that send it.

    A sample is somebody's. It is kept for 7 days, then taken anew from the next event, and it goes when its contact is
    deleted.

    \b
    JSON (fields are only ever added):
      fields [{kind, event, name, types, conflict, last_seen, sample, sources [{source, types {type: last}}]}],
      found, left_out, filling, whole

    \b
    Examples:
      tidegate fields --event "Order Completed"
      tidegate fields --traits --source shop-stripe
      tidegate fields --conflicts --json | jq -r '.fields[].name'
    """
    from streams.fields_shown import Question

    if traits and event is not None:
        raise click.UsageError("expected one of --event and --traits, got both: traits are of contacts, not of events")
    question = Question(event, "trait" if traits else None, source, conflicts, limit)
    found = run(_read(question))
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        columns = ("event", "name", "types", "sources", "last_seen", "sample")
        print_table(columns, [_row(each, conflicts) for each in found.fields], False)
    _say(found)


def _say(found: "Fields") -> None:
    if len(found.fields) < found.found:
        say(f"{len(found.fields):,} of {found.found:,} are shown: --event, --source, --limit choose others")
    if found.left_out:
        say(f"the catalogue is full, or names are too long: about {found.left_out:,} fields are not in it")
    if found.filling:
        say(f"events are still being read: {found.filling} partitions to go")
    elif not found.whole and not found.left_out:
        say("no projector has read any events yet: `tidegate projector` does")


def _row(field: "FieldShown", by_source: bool) -> list[object]:
    types = ", ".join(field.types)
    if by_source:
        types = "; ".join(
            f"{name} ({', '.join(each.source for each in field.sources if name in each.types)})" for name in field.types
        )
    elif field.conflict:
        types += " !"
    sources = ", ".join(each.source for each in field.sources)
    return [
        "(trait)" if field.event is None else field.event,
        field.name,
        types,
        sources,
        field.last_seen,
        field.sample,
    ]


async def _read(question: "Question") -> "Fields":
    from redis.exceptions import RedisError

    from streams.dispatcher_setup import connect
    from streams.errors import StreamsError
    from streams.fields_shown import read_fields
    from streams.fields_store import FieldStore

    given = settings()
    client = connect(given)
    try:
        return await read_fields(FieldStore(client, given.prefix), question)
    except (RedisError, OSError) as error:
        raise StreamsError(
            f"expected Redis to tell the catalogue of fields, got {type(error).__name__}: see TIDEGATE_REDIS"
        ) from None
    finally:
        await client.aclose()
