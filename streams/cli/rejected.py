"""`tidegate rejected`: what could not be taken."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from schemas.instants import format_instant
from schemas.rejected import Reason
from streams.cli.parameters import DurationType
from streams.cli.terminal import json_option, print_json, print_table, progress, run, say, settings

if TYPE_CHECKING:
    from streams.rejected import Wanted
    from streams.replay import Replayed

_REASONS = [str(reason) for reason in Reason if reason is not Reason.REPLAYED]


@click.group()
def rejected() -> None:
    """What could not be taken, by reason: kept for 30 days as it came, with where it came from and why."""


def wanted_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which records a command is about."""
    since = click.option("--since", "since_ms", type=DurationType(), help="Rejected no longer ago than this, as 2h.")
    contact = click.option("--contact", help="Of this contact alone.")
    reason = click.option("--reason", type=click.Choice(_REASONS), help="Of this reason alone.")
    return reason(contact(since(command)))


@rejected.command("list")
@wanted_options
@json_option
def list_(reason: str | None, contact: str | None, since_ms: int | None, as_json: bool) -> None:
    """Count what was rejected, by reason and topic, with the sentence of the latest; and how often that was replayed.

    \b
    Example:
      tidegate rejected list --since 1d
    """
    from streams.rejected import RejectedRecord
    from streams.rejected import rejected as read

    given, wanted = settings(), _wanted(reason, contact, since_ms)
    counts: dict[tuple[str, str], int] = {}
    replayed: dict[tuple[str, str], int] = {}
    latest: dict[tuple[str, str], RejectedRecord] = {}

    async def count() -> None:
        async for record in read(given, wanted):
            if record.was is not None:
                group = (record.was, record.topic)
                replayed[group] = replayed.get(group, 0) + 1
                continue
            group = (record.reason, record.topic)
            counts[group] = counts.get(group, 0) + 1
            if group not in latest or record.rejected_at_ms >= latest[group].rejected_at_ms:
                latest[group] = record

    run(count())
    if not counts and not as_json:
        what = "in the last 30 days" if wanted == _wanted(None, None, None) else "of these"
        say(f"nothing was rejected {what}")
        return
    groups = sorted(counts, key=lambda group: -counts[group])
    rows = [
        (reason, topic, counts[reason, topic], replayed.get((reason, topic), 0), latest_at, last.sentence)
        for reason, topic in groups
        for last in (latest[reason, topic],)
        for latest_at in (format_instant(last.rejected_at_ms),)
    ]
    print_table(("reason", "topic", "count", "replayed", "latest", "sentence"), rows, as_json)


@rejected.command()
@wanted_options
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="The latest so many.")
def show(reason: str | None, contact: str | None, since_ms: int | None, limit: int) -> None:
    """Print what was rejected as JSON lines, the latest last: coordinates, reason, sentence, and the bytes as they came.

    Of a value too long for the topic there is the beginning, and `cut_from_bytes` says how long it was; the whole of it
    is where it came from.

    \b
    Example:
      tidegate rejected show --reason wrong_partition | jq .sentence
    """
    import heapq

    from streams.rejected import RejectedRecord
    from streams.rejected import rejected as read

    given, wanted = settings(), _wanted(reason, contact, since_ms)
    kept: list[tuple[int, int, RejectedRecord]] = []

    async def keep() -> None:
        count = 0
        async for record in read(given, wanted):
            if record.was is None:
                count += 1
                heapq.heappush(kept, (record.rejected_at_ms, count, record))
                if len(kept) > limit:
                    heapq.heappop(kept)

    run(keep())
    for _, _, record in sorted(kept):
        print_json(_shown(record))


@rejected.command()
@wanted_options
@click.option("--dry-run", is_flag=True, help="Say what would be published, and publish nothing.")
@click.option("--again", is_flag=True, help="Also what was replayed before.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def replay(
    reason: str | None, contact: str | None, since_ms: int | None, dry_run: bool, again: bool, as_json: bool
) -> int:
    """Publish what was rejected once more, as it came: same topic, key and bytes, so the same `messageId`.

    For when the cause is mended: a worker that raised, a quarantine that is over, keys on the wrong partition. Each goes
    to its key's partition, behind what is there: it arrives now and counts, late, by its `timestamp`, or without one by
    its `receivedAt` or as of now. What is still wrong is rejected again.

    Nothing is published a second time by a later call, but for `--again`, or where a call was cut short: then up to 500
    records may be, of which those with a `messageId` change nothing. Make one call at a time.

    What can't be published, as it was too long to be kept whole or has no key, is counted, and the exit status is 1.

    \b
    Example: a bug of ours is mended and the workers run the new version
      tidegate rejected replay --reason raised --dry-run
      tidegate rejected replay --reason raised
    """
    from streams.clock import SystemClock
    from streams.replay import replay as publish_again
    from streams.replay import survey

    given, wanted, now_ms = settings(), _wanted(reason, contact, since_ms), SystemClock().now_ms()
    surveyed = run(survey(given, wanted))
    with progress("records", surveyed.bytes) as advance:
        done = run(
            publish_again(given, wanted, surveyed, now_ms, again=again, dry=dry_run, advance=advance),
        )
    _say_done(done, dry_run)
    if as_json:
        print_json({"replayed": done.records, "before": done.before, "left": dict(done.left)})
    return 1 if done.left else 0


def _wanted(reason: str | None, contact: str | None, since_ms: int | None) -> "Wanted":
    from streams.clock import SystemClock
    from streams.rejected import Wanted

    return Wanted(reason, contact, None if since_ms is None else SystemClock().now_ms() - since_ms)


def _shown(record: Any) -> dict[str, Any]:
    from streams.tail import shown_bytes

    fields = asdict(record)
    for name in ("stored_at", "was", *(["cut_from_bytes"] if record.cut_from_bytes is None else [])):
        del fields[name]
    for name in ("key", "value"):
        fields[name] = None if fields[name] is None else shown_bytes(fields[name])
    return {"rejected_at": format_instant(fields.pop("rejected_at_ms")), **fields}


def _say_done(done: "Replayed", dry: bool) -> None:
    left = sum(done.left.values())
    before = f", {done.before:,} were before (--again takes them, too)" if done.before else ""
    say(f"{done.records:,} records {'would be ' if dry else ''}replayed{before}, {left:,} left")
    for why, count in done.left.most_common():
        say(f"left: {count:,} {why}")
