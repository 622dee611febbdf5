"""`tidegate members`: who is in a segment."""

from typing import TYPE_CHECKING

import click
import msgspec

from streams.cli.terminal import json_option, print_json, print_table, run, say, settings

if TYPE_CHECKING:
    from streams.lookups import Members
    from streams.settings import Settings

_COLUMNS = ("contact", "key", "since", "seq", "version")


@click.command()
@click.argument("segment")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many.")
@json_option
def members(segment: str, limit: int, as_json: bool) -> None:
    """List who is in SEGMENT, in an order that stays the same (about that of the contacts' ids).

    From Redis, as a projector keeps it: a moment behind the workers. In a segment with `per`, a contact is listed with each
    value (`key`) that it is in with.

    \b
    JSON (fields are only ever added; what isn't known is null):
      segment, size, members [{contact, key, since, seq, version}]

    \b
    Examples:
      tidegate members abandoned-cart
      tidegate members abandoned-cart --limit 1000000 --json | jq -r '.members[].contact'
    """
    found = run(_members(settings(), segment, limit))
    if as_json:
        shown = msgspec.to_builtins(found)
        del shown["next"]
        print_json(shown)
        return
    if found.members:
        print_table(_COLUMNS, [[getattr(each, name) for name in _COLUMNS] for each in found.members], False)
    else:
        say(f"nobody is in {segment!r} (`tidegate segments list` has the segments)")
    if found.next is not None:
        say(f"{len(found.members):,} of {found.size:,} are shown (--limit)")


async def _members(given: "Settings", segment: str, limit: int) -> "Members":
    """As many as there are up to `limit`, page by page."""
    from streams.lookups import MEMBERS_MAX, lookups

    async with lookups(given) as asked:
        page = await asked.members(segment, limit=min(limit, MEMBERS_MAX))
        listed = page.members
        while page.next is not None and len(listed) < limit:
            page = await asked.members(segment, page.next, min(limit - len(listed), MEMBERS_MAX))
            listed += page.members
    return msgspec.structs.replace(page, members=listed)
