"""`tidegate rejected`: what could not be taken."""

from dataclasses import asdict

import click

from schemas.instants import format_instant
from schemas.rejected import Reason
from streams.cli.terminal import json_option, print_json, print_table, run, say, settings


@click.group()
def rejected() -> None:
    """What could not be taken, by reason: kept for 30 days as it came, with where it came from and why."""


@rejected.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Count what was rejected, by reason and topic, with the sentence of the latest.

    \b
    Example:
      tidegate rejected list
    """
    from streams.rejected import RejectedRecord
    from streams.rejected import rejected as read

    given = settings()
    counts: dict[tuple[str, str], int] = {}
    latest: dict[tuple[str, str], RejectedRecord] = {}

    async def count() -> None:
        async for record in read(given):
            group = (record.reason, record.topic)
            counts[group] = counts.get(group, 0) + 1
            if group not in latest or record.rejected_at_ms >= latest[group].rejected_at_ms:
                latest[group] = record

    run(count())
    if not counts and not as_json:
        say("nothing was rejected in the last 30 days")
        return
    groups = sorted(counts, key=lambda group: -counts[group])
    rows = [
        (reason, topic, counts[reason, topic], format_instant(last.rejected_at_ms), last.sentence)
        for reason, topic in groups
        for last in (latest[reason, topic],)
    ]
    print_table(("reason", "topic", "count", "latest", "sentence"), rows, as_json)


@rejected.command()
@click.option("--reason", type=click.Choice([str(reason) for reason in Reason]), help="Of this reason alone.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="The latest so many.")
def show(reason: str | None, limit: int) -> None:
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

    given = settings()
    kept: list[tuple[int, int, RejectedRecord]] = []

    async def keep() -> None:
        count = 0
        async for record in read(given):
            if reason in (None, record.reason):
                count += 1
                heapq.heappush(kept, (record.rejected_at_ms, count, record))
                if len(kept) > limit:
                    heapq.heappop(kept)

    run(keep())
    for _, _, record in sorted(kept):
        fields = asdict(record)
        rejected_at = format_instant(fields.pop("rejected_at_ms"))
        if record.cut_from_bytes is None:
            del fields["cut_from_bytes"]
        print_json({"rejected_at": rejected_at, **fields})
