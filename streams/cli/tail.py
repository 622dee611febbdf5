"""`tidegate tail`: committed records as JSON lines."""

import sys
from typing import Any

import click
import orjson

from schemas.topics import TOPICS
from streams.cli.parameters import DurationType
from streams.cli.terminal import run, say, settings

_NAMES = [topic.name for topic in TOPICS]


@click.command()
@click.argument("topics", nargs=-1, type=click.Choice(_NAMES), metavar="[TOPIC]...")
@click.option("--from-beginning", is_flag=True, help="All that is there, not only what comes from now on.")
@click.option("--until-idle", "until_idle_ms", type=DurationType(), help="Stop when nothing has come for so long.")
@click.option("--envelope", "enveloped", is_flag=True, help="With topic, partition, offset, time, key and headers.")
def tail(topics: tuple[str, ...], from_beginning: bool, until_idle_ms: int | None, enveloped: bool) -> None:
    """Print committed records of TOPIC... (default: transitions) as JSON lines, by short name without prefix.

    A line is the record's value. It is `{"topic", "partition", "offset", "time", "key", "value", "headers"}` instead
    with --envelope, with several topics, and where the value is no JSON object; bytes that are no text are in base64.
    Records of all partitions come about in order of record time; within a partition the order is exact.

    \b
    Topics: events.product, events.billing, events.email, events.own, transitions, memberships, contacts, deliveries,
    outcomes, rejected, definitions, links, state.

    \b
    Examples:
      tidegate tail
      tidegate tail transitions --from-beginning --until-idle 2s | jq -r .segment | sort | uniq -c
      tidegate tail transitions deliveries outcomes
    """
    from streams import tail as tailing

    given = settings()
    names = list(dict.fromkeys(topics)) or ["transitions"]
    enveloped = enveloped or len(names) > 1

    def line(record: Any) -> bytes:
        alone = None if enveloped else tailing.object_line(record.value)
        return orjson.dumps(tailing.envelope(given, record)) if alone is None else alone

    async def follow() -> None:
        idle_s = None if until_idle_ms is None else until_idle_ms / 1000
        listening = False
        blocks = tailing.committed(given, names, from_beginning=from_beginning, until_idle_s=idle_s, say=say)
        async for records in blocks:
            if not listening:
                listening = True
                if sys.stdout.isatty():
                    say(f"listening to {', '.join(given.topic(name) for name in names)}; Ctrl-C ends it")
            if records:
                sys.stdout.buffer.write(b"".join(line(record) + b"\n" for record in records))
                sys.stdout.buffer.flush()

    run(follow())
