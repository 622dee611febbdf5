"""`tidegate topics`: the Kafka topics."""

import click

from streams import topics as kafka_topics
from streams.cli.terminal import json_option, print_json, print_table, run, say, settings


@click.group()
def topics() -> None:
    """Make the Kafka topics, and compare those that are there."""


@topics.command()
@json_option
def create(as_json: bool) -> int:
    """Make the topics that are missing and compare those that are there.

    Does nothing to a topic that exists: what differs is said, with the command that puts it right. Exit status 1 where
    something differs that a worker can't start with.

    \b
    Example:
      TIDEGATE_BROKER=127.0.0.1:9092 TIDEGATE_PARTITIONS=12 tidegate topics create
    """
    given = settings()
    created = run(kafka_topics.create(given))
    differing = {difference.topic for difference in created.differences if difference.vital}
    if as_json:
        print_json(
            {
                "made": created.made,
                "there": created.there,
                "differences": [
                    {"topic": each.topic, "what": each.what, "vital": each.vital} for each in created.differences
                ],
            }
        )
    else:
        rows = [(name, "made") for name in created.made]
        rows += [(name, "differs" if name in differing else "there") for name in created.there]
        print_table(("topic", "is"), rows, False)
    for vital in (True, False):
        found = [(each.topic, each.what) for each in created.differences if each.vital is vital]
        for sentence in kafka_topics.sentences(found):
            say(sentence if vital else f"note: {sentence}")
    return 1 if differing else 0


@topics.command()
def check() -> int:
    """Say what a worker can't start with; nothing and status 0 where all is well.

    \b
    Example:
      tidegate topics check && tidegate worker
    """
    from streams.surroundings import look

    problems = run(look(settings())).all
    for problem in problems:
        say(problem)
    return 1 if problems else 0


@topics.command()
@click.option("--accept", is_flag=True, help="Go on behind them: what is gone is never applied.")
@json_option
def gaps(accept: bool, as_json: bool) -> int:
    """List events that are gone before a worker applied them, and go on behind them with --accept.

    Retention may have removed them while no worker ran, or a source topic was deleted and made anew. Workers refuse to
    start on such a gap, as segments would be wrong without anybody's knowledge. Where that is put up with, contacts keep
    what was applied before, and miss what was lost. Exit status 1 where there are gaps that aren't accepted.

    \b
    Examples:
      tidegate topics gaps
      tidegate topics gaps --accept
    """
    from streams import gaps as lost

    given = settings()
    found = run(lost.find(given))
    if accept and found:
        found = run(lost.accept(given, found))
    rows = [(given.topic(gap.topic), gap.partition, gap.position, gap.first, gap.lost) for gap in found]
    print_table(("topic", "partition", "was_to_go_on_at", "can_go_on_at", "lost"), rows, as_json)
    if accept and found:
        say("accepted: start the workers")
    return 1 if found and not accept else 0
